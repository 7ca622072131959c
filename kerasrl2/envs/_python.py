"""Worlds that run in Python, inside a TensorFlow graph."""

import tensorflow as tf

from kerasrl2.envs.core import Environment
from kerasrl2.types import TimeStep


class PythonEnvironment(Environment):
    """`N` copies of a world in Python, stepped within one graph operation.

    The world holds its own state. `state` is a number that the world checks: it must
    come from the latest `reset` or `step`.

    Args:
        id: String, the name in messages and logs.
        num_envs: Integer >= 1, the number of copies `N`.
        observation_space: `gymnasium.Space` of one copy.
        action_space: `gymnasium.Space` of one copy.
        world: A `Lockstep` or what has its methods on NumPy arrays: `reset(seed)`,
            `step(token, action)`, `close()`; `observation` is its codec.
    """

    always_valid = True

    def __init__(self, id, num_envs, observation_space, action_space, world):
        super().__init__(id, num_envs, observation_space, action_space)
        self._world = world

    def reset(self, seed):
        shape, dtype = self._shape(), self._world.observation.dtype
        return self._call(
            self._world.reset,
            [seed],
            [tf.TensorSpec([], tf.int32), tf.TensorSpec(shape, dtype)],
        )

    def step(self, state, action, seed):
        """Takes one step in each copy, which need no `seed` any more."""
        state, packed = self.step_packed(state, action, seed)
        return state, self.unpack(packed)

    def step_packed(self, state, action, seed):
        shape, dtype = self._shape(), self._world.observation.dtype
        observations, outcome = self._call(
            self._world.step,
            [state, self._checked_action(action)],
            [tf.TensorSpec([2, *shape], dtype), tf.TensorSpec([3, self.num_envs])],
        )
        with tf.control_dependencies([outcome]):
            state = state + 1
        return state, (observations, outcome)

    def pack(self, time_step):
        flags = [time_step.reward, time_step.terminated, time_step.truncated]
        outcome = tf.stack([tf.cast(flag, tf.float32) for flag in flags])
        return tf.stack([time_step.observation, time_step.next_observation]), outcome

    def unpack(self, packed):
        observations, outcome = packed
        current, following = tf.unstack(observations)
        reward, terminated, truncated = tf.unstack(outcome)
        return TimeStep(
            observation=current,
            next_observation=following,
            reward=reward,
            terminated=terminated > 0,
            truncated=truncated > 0,
            valid=tf.ones([self.num_envs], tf.bool),
        )

    def close(self):
        self._world.close()

    def _shape(self):
        """Of a batch of observations."""
        return [self.num_envs, *self._world.observation.shape]

    def _call(self, function, inputs, specs):
        """Runs `function` on arrays, at once or as an operation of the graph."""
        if tf.executing_eagerly():
            values = function(*(tf.convert_to_tensor(x).numpy() for x in inputs))
            return tuple(tf.constant(value) for value in values)

        def guarded(*arrays):
            try:
                return function(*arrays)
            except BaseException as error:  # an interrupt must come back as one
                self.failure = error
                raise

        values = tf.numpy_function(guarded, inputs, [spec.dtype for spec in specs])
        for value, spec in zip(values, specs, strict=True):
            value.set_shape(spec.shape)
        return tuple(values)
