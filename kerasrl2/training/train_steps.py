"""Train steps for custom Keras models: `compile` and `fit` do the rest."""

import keras
import tensorflow as tf
from keras import ops

from kerasrl2._checks import check_range
from kerasrl2._private import layers_of
from kerasrl2.buffers import PrioritizedReplayBuffer
from kerasrl2.layers.noisy import NoisyDense
from kerasrl2.layers.targets import frozen_copy, update_target
from kerasrl2.losses.temporal_difference import (
    greedy_policy,
    q_learning_target,
    value_of_action,
)
from kerasrl2.types import Transition


class QLearningTrainStep:
    """Makes `fit` of a Keras model Q-learning on batches of transitions.

    A mixin, listed before `keras.Model`. The regression target of an action taken is
    `r + discount * Q'(s', argmax_b Q(s', b))`, equation (4) of van Hasselt et al.
    (2016), https://arxiv.org/abs/1509.06461, or with `double_q=False`
    `r + discount * max_b Q'(s', b)` of Mnih et al. (2015),
    https://doi.org/10.1038/nature14236. The compiled loss gets `y_true` `[B, 2]`,
    action and target, as `losses.ImportanceWeightedTDLoss` takes it, and the batch's
    weights as `sample_weight`. Only `Q(s, .)` receives a gradient.

    If `q_network` contains `NoisyDense` layers, targets are computed with independent
    noise (`training=True`), as in section 3.1 of Fortunato et al. (2018), else with
    `training=False`.

    Batches are those of `buffer.as_dataset(batch_size, steps)`. With
    `as_dataset(..., with_index=True)` and `model.replay_buffer = buffer`, the TD errors
    of each step are written back as priorities. `fit` may draw a batch ahead. Steps per
    execution and `jit_compile` are Keras' own.

    Args:
        q_network: Built `keras.Model`, `[B, ...]` to `[B, A]`.
        double_q: Boolean.
        tau: Float in (0, 1], step of the target network towards `q_network` after each
            gradient step; None leaves it to `callbacks.TargetNetworkUpdate`.
        **kwargs: Keywords of `keras.Model`.

    Attributes:
        target_network: `frozen_copy` of `q_network`, saved with the model.
        replay_buffer: `PrioritizedReplayBuffer` to write priorities to, or None.

    Example:
    >>> from kerasrl2 import buffers, losses
    >>> @keras.saving.register_keras_serializable(package="examples")
    ... class QLearner(QLearningTrainStep, keras.Model):
    ...     "A Q-network that `fit` trains."
    >>> buffer = buffers.ReplayBuffer(100, gamma=0.9)
    >>> for t in range(10):
    ...     i = buffer.add([[1.0]], [t % 2], [1.0], [True], [False], [[1.0]])
    >>> model = QLearner(keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)]))
    >>> model.compile("adam", loss=losses.ImportanceWeightedTDLoss())
    >>> data = buffer.as_dataset(32, steps=5)
    >>> history = model.fit(data, epochs=2, shuffle=False, verbose=0)
    >>> sorted(history.history)
    ['loss', 'td_error']
    """

    def __init__(self, q_network, double_q=True, tau=0.005, **kwargs):
        super().__init__(**kwargs)
        check_range("tau", tau, 0.0, 1.0, open_low=True)
        self.q_network, self.double_q, self.tau = q_network, double_q, tau
        self.target_network = frozen_copy(q_network)
        self.td_error_tracker = keras.metrics.Mean(name="td_error")
        self.replay_buffer = None
        self.built = True

    def call(self, observation, training=False):
        """Values `[B, A]` of the actions in `[B, ...]` observations."""
        return self.q_network(observation, training=training)

    def q_targets(self, batch):
        """Regression targets of the values of the actions taken.

        Args:
            batch: `Transition`.

        Returns:
            `[B]` float32. Receives no gradient.
        """
        noisy = any(isinstance(x, NoisyDense) for x in layers_of(self.q_network))
        following = batch.next_observation
        values = selecting = self.target_network(following, training=noisy)
        if self.double_q:
            selecting = self.q_network(following, training=noisy)
        values = ops.cast(values, "float32")
        policy = ops.cast(greedy_policy(selecting), "float32")
        return q_learning_target(batch.reward, batch.discount, values, policy)

    def train_step(self, data):
        """Makes one gradient step, called by `fit` with each batch; returns metrics."""
        index, batch = _unpack(data)
        target = self.q_targets(batch)
        with tf.GradientTape() as tape:
            loss, q_values = self._loss_of(batch, target, training=True)
            scaled_loss = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        gradients = tape.gradient(scaled_loss, [x.value for x in variables])
        self.optimizer.apply(gradients, variables)
        if self.tau is not None:
            update_target(self.target_network, self.q_network, self.tau)
        td_error = target - value_of_action(ops.cast(q_values, "float32"), batch.action)
        if self.replay_buffer is not None:
            self._check_buffer(index)
            self.replay_buffer.update_priorities(index, td_error)
        return self._metrics_of(batch, target, q_values, loss, td_error)

    def test_step(self, data):
        """Computes the same loss, called by `evaluate`; changes no weights."""
        _, batch = _unpack(data)
        target = self.q_targets(batch)
        loss, q_values = self._loss_of(batch, target, training=False)
        td_error = target - value_of_action(ops.cast(q_values, "float32"), batch.action)
        return self._metrics_of(batch, target, q_values, loss, td_error)

    def get_config(self):
        return {
            **super().get_config(),
            "q_network": keras.saving.serialize_keras_object(self.q_network),
            "double_q": self.double_q,
            "tau": self.tau,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        network = keras.saving.deserialize_keras_object(
            config["q_network"], custom_objects=custom_objects
        )
        return cls(**{**config, "q_network": network})

    def _loss_of(self, batch, target, training):
        q_values = self(batch.observation, training=training)
        y_true = _action_and_target(batch, target)
        loss = self.compute_loss(
            batch.observation, y_true, q_values, batch.weight, training=training
        )
        return loss, q_values

    def _metrics_of(self, batch, target, q_values, loss, td_error):
        """Metrics; means are over transitions, also if the last batch is smaller."""
        count = ops.shape(target)[0]
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=count)
        self.td_error_tracker.update_state(ops.abs(td_error))
        y_true = _action_and_target(batch, target)
        return self.compute_metrics(batch.observation, y_true, q_values, batch.weight)

    def _check_buffer(self, index):
        if not isinstance(self.replay_buffer, PrioritizedReplayBuffer):
            raise ValueError(
                "Expected `replay_buffer` to be a `PrioritizedReplayBuffer` or None. "
                f"Received: {self.replay_buffer!r}"
            )
        if index is None:
            raise ValueError(
                "Expected batches `(index, Transition)` with `replay_buffer` set: "
                "`as_dataset(..., with_index=True)`. Received: `Transition` alone"
            )


def _action_and_target(batch, target):
    return ops.stack([ops.cast(batch.action, "float32"), target], axis=1)


def _unpack(data):
    """`(index or None, Transition)` of an element of a data set."""
    if isinstance(data, Transition):
        return None, data
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], Transition):
        return data
    raise ValueError(
        "Expected a data set of `Transition` or `(index, Transition)`, as "
        f"`buffer.as_dataset` makes it. Received: {type(data).__name__}"
    )
