"""Random network distillation: a bonus for observations that are new."""

import keras
import tensorflow as tf
from keras import ops

from kerasrl2._numbers import FINITE, Number
from kerasrl2.layers.normalization import RewardScaling
from kerasrl2.statistics import masked_mean


@keras.saving.register_keras_serializable(package="kerasrl2")
class RandomNetworkDistillation(keras.layers.Layer):
    """Pays for observations whose features a trained network does not know yet.

    Burda et al. (2019), https://arxiv.org/abs/1810.12894, section 2.2: the bonus of an
    observation is `sum_j (f_hat_j(x) - f_j(x))^2`. The target `f` has random weights
    that never change; the predictor `f_hat` is trained on what is seen. An actor-critic
    agent takes the layer as `intrinsic_reward`; `agents.random_network_distillation`
    makes one for a space.

    Observations are standardised by moments of their own. The bonus is divided by the
    deviation of its own running returns, and no mean is subtracted (section 2.4). Until
    `priming_steps` observations were seen, only the moments learn.

    A subclass with another bonus overrides `bonus` and `loss`, and `initial_state` if
    it remembers.

    Args:
        predictor: Built Keras model, `[B, ...]` observations to `[B, F]`. Receives the
            gradients.
        target: Built Keras model of the same shapes; set to `trainable = False`.
        observation_normalizer: `RunningNormalization`, `NestedNormalization` or None.
        gamma: Float in [0, 1], discount per env step of the intrinsic return.
        intrinsic_coefficient: Float, weight of the intrinsic advantage.
        extrinsic_coefficient: Float, weight of the advantage of the rewards.
        predictor_share: Float in (0, 1], share of the rows that train the predictor.
        priming_steps: Integer >= 0, env steps before the first gradient step.
        **kwargs: Base layer arguments.

    Input shape: `[B, ...]`, observations, or a nest of them; not normalised.

    Output shape: `[B]`, float32, the bonus, not scaled.

    Raises:
        ValueError: The features of the two are of different shapes, or the networks
            are the same.

    Example:
    >>> from kerasrl2.layers import mlp
    >>> networks = [mlp((2,), hidden=(8, 4)) for _ in range(2)]
    >>> layer = RandomNetworkDistillation(*networks)
    >>> layer(ops.ones([3, 2])).shape
    TensorShape([3])
    """

    gamma = Number(0.0, 1.0)
    intrinsic_coefficient = Number(**FINITE)
    extrinsic_coefficient = Number(**FINITE)
    predictor_share = Number(0.0, 1.0, open_low=True)
    priming_steps = Number(0, integer=True)

    def __init__(
        self,
        predictor,
        target,
        observation_normalizer=None,
        gamma=0.99,
        intrinsic_coefficient=1.0,
        extrinsic_coefficient=2.0,
        predictor_share=1.0,
        priming_steps=1000,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        _check_networks(predictor, target)
        self.predictor, self.target = predictor, target
        target.trainable = False
        self.observation_normalizer = observation_normalizer
        self.reward_scaling = RewardScaling(gamma, dtype="float32")
        self.gamma = gamma
        self.intrinsic_coefficient = intrinsic_coefficient
        self.extrinsic_coefficient = extrinsic_coefficient
        self.predictor_share, self.priming_steps = predictor_share, priming_steps

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "gamma":
            self.reward_scaling.gamma = value

    def build(self, input_shape):
        normalizer = self.observation_normalizer
        if normalizer is not None and not normalizer.built:
            normalizer.build(input_shape)
        if not self.reward_scaling.built:
            self.reward_scaling.build(())
        self.seen = self.add_weight(
            name="seen", shape=(), dtype="int64", initializer="zeros", trainable=False
        )

    def call(self, observation):
        return ops.sum(self.squared_errors(observation), axis=-1)

    def compute_output_spec(self, observation):
        rows = tf.nest.flatten(observation)[0].shape[0]
        return keras.KerasTensor((rows,), dtype="float32")

    def normalized(self, observation):
        """Standardised `[B, ...]` observations, as both networks take them."""
        if self.observation_normalizer is None:
            return observation
        return self.observation_normalizer(observation)

    def squared_errors(self, observation):
        """`[B, F]` float32, of each feature. Gradients flow to the predictor.

        Args:
            observation: `[B, ...]` or a nest, not normalised.
        """
        seen = self.normalized(observation)
        predicted = ops.cast(self.predictor(seen), "float32")
        known = ops.cast(self.target(seen), "float32")
        return (predicted - ops.stop_gradient(known)) ** 2

    # What an agent asks for

    def initial_state(self, num_envs):
        """What `bonus` remembers at the start, a nest of `[N, ...]`; `()` here."""
        del num_envs
        return ()

    def bonus(self, rollout, state):
        """The bonus of each step of a rollout: that of the state it has led to.

        Args:
            rollout: `Rollout` of `[T, N, ...]`, without action masks.
            state: From `initial_state` or the rollout before.

        Returns:
            `(bonus, data, state)`: `[T, N]` float32, not scaled; a nest of
            `[T, N, ...]`, rows of which `loss` is given; and the next state.
        """
        data = rollout.next_observation
        bonus = self(tf.nest.map_structure(_flat, data))
        return tf.reshape(bonus, rollout.reward.shape), data, state

    def loss(self, data, valid, seed):
        """Loss of the predictor, scalar: the mean squared error of a feature.

        Args:
            data: Nest of `[B, ...]`, of `bonus`.
            valid: `[B]` bool, False for rows to leave out.
            seed: `[2]` int32, chooses the `predictor_share`.
        """
        errors = self.squared_errors(data)
        mean = ops.sum(errors, axis=-1) / errors.shape[-1]
        return masked_mean(mean, self.chosen(valid, seed))

    def chosen(self, valid, seed):
        """`[B]` bool, the valid rows that train the predictor."""
        drawn = tf.random.stateless_uniform(valid.shape, seed, alg="philox")
        return valid & (drawn < self.predictor_share)

    def scaled(self, bonus, running, valid):
        """Scaled bonus and running returns, which go on over the ends of episodes.

        Args:
            bonus: `[T, N]` float32.
            running: `[N]` float32, discounted returns so far.
            valid: `[T, N]` bool, False for rows that count for nothing.
        """
        never = tf.zeros_like(valid)
        running = self.reward_scaling.update(bonus, never, running, valid)
        return self.reward_scaling(bonus), running

    def is_primed(self):
        """Whether enough was seen to learn, scalar bool."""
        return ops.convert_to_tensor(self.seen) >= self.priming_steps

    def update(self, observation, valid):
        """Counts observations and adds them to the moments.

        Args:
            observation: `[T, N, ...]` or a nest.
            valid: `[T, N]` bool.
        """
        if self.observation_normalizer is not None:
            self.observation_normalizer.update(observation, valid)
        self.seen.assign_add(tf.math.count_nonzero(valid))

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        parts = "predictor", "target", "observation_normalizer"
        numbers = (
            "gamma",
            "intrinsic_coefficient",
            "extrinsic_coefficient",
            "predictor_share",
            "priming_steps",
        )
        own = {name: serialize(getattr(self, name)) for name in parts}
        own |= {name: getattr(self, name) for name in numbers}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        """The layer of a configuration that `get_config` made."""
        load = keras.saving.deserialize_keras_object
        parts = {k: load(v) for k, v in config.items() if isinstance(v, dict)}
        return cls(**{**config, **parts})


def _flat(tensor):
    """`[T, N, ...]` to `[T * N, ...]`."""
    return tf.reshape(tensor, [tensor.shape[0] * tensor.shape[1], *tensor.shape[2:]])


def _check_networks(predictor, target):
    for name, network in (("predictor", predictor), ("target", target)):
        if not isinstance(network, keras.Layer) or not network.built:
            raise ValueError(
                f"Expected `{name}` as a built Keras model. Received: {network!r:.100}"
            )
    if predictor is target:
        raise ValueError(
            "Expected a `target` of its own: what is its own target pays no bonus. "
            f"Received: {target.name!r} twice. Make two networks of different seeds."
        )
    shapes = [getattr(n, "output_shape", None) for n in (predictor, target)]
    if None not in shapes and shapes[0] != shapes[1]:
        raise ValueError(
            f"Expected features [B, F] of one size. Received: {shapes[0]} of the "
            f"predictor, {shapes[1]} of the target."
        )
    pairs = [[w.numpy() for w in n.weights] for n in (predictor, target)]
    if [w.shape for w in pairs[0]] == [w.shape for w in pairs[1]] and all(
        (a == b).all() for a, b in zip(*pairs, strict=True)
    ):
        raise ValueError(
            "Expected a `target` with other weights than the predictor's: equal ones "
            "pay no bonus. Received: two networks of equal weights. Make them with "
            "different seeds."
        )
