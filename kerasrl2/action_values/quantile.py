"""Action values as quantiles of the return."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.action_values.base import ActionValues, mixed, of_action
from kerasrl2.distributions.sampling import shape_of, uniform
from kerasrl2.losses import quantile_huber_loss, quantile_midpoints


@keras.saving.register_keras_serializable(package="kerasrl2")
class QuantileValues(ActionValues):
    """The return's quantiles at `M` fixed fractions (QR-DQN).

    Algorithm 1 of Dabney et al. (2018), https://arxiv.org/abs/1710.10044. The network's
    output is `[B, A, M]`, in units of return. The TD error is that of the means.

    Args:
        num_quantiles: Integer >= 1, `M`.
        delta: Float >= 0, the paper's kappa, where the loss turns linear; with 0 it is
            the plain quantile loss, with infinity half the square.

    Example:
    >>> values = QuantileValues(num_quantiles=2)
    >>> values.expected(tf.constant([[[1.0, 3.0]]])).numpy().tolist()
    [[2.0]]
    """

    def __init__(self, num_quantiles=200, delta=1.0):
        check_positive_integer("num_quantiles", num_quantiles)
        check_range("delta", delta, 0.0)
        self.num_quantiles = self.num_atoms = num_quantiles
        self.delta = delta

    def expected(self, outputs):
        return tf.reduce_mean(outputs, axis=-1)

    def target(self, next_outputs, policy, reward, discount):
        following = discount[:, None] * mixed(next_outputs, policy)
        return tf.stop_gradient(reward[:, None] + following)

    def loss(self, outputs, action, target):
        fractions = quantile_midpoints(self.num_quantiles)
        return self._loss(of_action(outputs, action), target, fractions)

    def _loss(self, quantiles, target, fractions):
        loss = quantile_huber_loss(quantiles, target, fractions, self.delta)
        means = tf.reduce_mean(target, axis=-1), tf.reduce_mean(quantiles, axis=-1)
        return loss, tf.stop_gradient(means[0] - means[1])

    def get_config(self):
        return {"num_quantiles": self.num_quantiles, "delta": self.delta}


@keras.saving.register_keras_serializable(package="kerasrl2")
class ImplicitQuantileValues(QuantileValues):
    """The return's quantiles at fractions the network is asked for (IQN).

    Equations (2) and (3) of Dabney et al. (2018), https://arxiv.org/abs/1806.06923. The
    network takes `[observation, fractions]`, `[B, ...]` and `[B, K]`, and returns
    `[B, A, K]`. While acting, the fractions are the `K` midpoints instead of the
    paper's `K` draws: their mean is the same, with less variance. The next action in a
    target is chosen by the same draws that value it (with double Q-learning by draws of
    the online network), where the paper makes `K` others.

    Args:
        num_quantiles: Integer >= 1, draws per sample and network while learning, the
            paper's `N` and `N'`.
        num_policy_quantiles: Integer >= 1, the paper's `K`.
        delta: Float >= 0, the paper's kappa.

    Example:
    >>> values = ImplicitQuantileValues(num_quantiles=8)
    >>> values.takes_fractions
    True
    """

    takes_fractions = True

    def __init__(self, num_quantiles=32, num_policy_quantiles=32, delta=1.0):
        super().__init__(num_quantiles, delta)
        check_positive_integer("num_policy_quantiles", num_policy_quantiles)
        self.num_policy_quantiles = num_policy_quantiles

    def read(self, network, observation, training, seed=None):
        """`(quantiles, fractions)`: `[B, A, K]` and `[B, K]`."""
        observation = tf.nest.map_structure(tf.convert_to_tensor, observation)
        rows = shape_of(tf.nest.flatten(observation)[0])[0]
        if seed is None:
            fractions = quantile_midpoints(self.num_policy_quantiles)
            fractions = tf.tile(fractions[None], [rows, 1])
        else:
            fractions = uniform([rows, self.num_quantiles], seed, tf.float32)
        quantiles = network([observation, fractions], training=training)
        return tf.cast(quantiles, tf.float32), fractions

    def expected(self, outputs):
        return super().expected(outputs[0])

    def target(self, next_outputs, policy, reward, discount):
        return super().target(next_outputs[0], policy, reward, discount)

    def loss(self, outputs, action, target):
        quantiles, fractions = outputs
        return self._loss(of_action(quantiles, action), target, fractions)

    def check(self, shape, num_actions):
        if len(shape) != 3 or shape[1] != num_actions:
            raise ValueError(
                f"Expected a network from [observation, fractions] to [B, "
                f"{num_actions}, K]. Received: output {tuple(shape)}"
            )

    def get_config(self):
        config = super().get_config()
        return {**config, "num_policy_quantiles": self.num_policy_quantiles}
