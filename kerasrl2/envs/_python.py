"""Environments that run in Python, called from TensorFlow graphs."""

import numpy as np
import tensorflow as tf

from kerasrl2._private import in_xla_context
from kerasrl2.envs._host_call import HostFunction, available
from kerasrl2.envs.core import Environment
from kerasrl2.types import TimeStep

_TICK = tf.TensorSpec([], tf.int32)


class PythonEnvironment(Environment):
    """`N` copies of an environment in Python, stepped by one operation of a graph.

    The copies hold their own state. `state` is a number that they check: it must come
    from the latest `reset` or `step`.

    Args:
        id: String, the name in messages and logs.
        num_envs: Integer >= 1, the number of copies `N`.
        observation_space: `gymnasium.Space` of one copy.
        action_space: `gymnasium.Space` of one copy.
        world: The copies: a `Lockstep`, or an object with its `reset(seed)`,
            `step(token, action)` and `close()` on NumPy arrays, and with the codec
            `observation`.
    """

    always_valid = True

    def __init__(self, id, num_envs, observation_space, action_space, world):
        super().__init__(id, num_envs, observation_space, action_space)
        self._world = world
        self._host_functions = {}

    @property
    def compilable(self):
        return available()

    def reset(self, seed):
        shape, dtype = self._shape(), self._world.observation.dtype
        return self._call(
            self._world.reset,
            [seed],
            [tf.TensorSpec([], tf.int32), tf.TensorSpec(shape, dtype)],
        )

    def step(self, state, action, seed):
        """Takes one step in each copy. `seed` is not used: `reset` seeds the copies."""
        inputs = [state, self._checked_action(action)]
        shape, dtype = self._shape(), self._world.observation.dtype
        outputs = [tf.TensorSpec([2, *shape], dtype), tf.TensorSpec([3, self.num_envs])]
        if in_xla_context():
            tick, observations, outcome = self._host_step(inputs, outputs)
        else:
            observations, outcome = self._call(self._world.step, inputs, outputs)
            with tf.control_dependencies([outcome]):
                tick = tf.ones([], tf.int32)
        current, following = tf.unstack(observations)
        reward, terminated, truncated = tf.unstack(outcome)
        return state + tick, TimeStep(
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
        """Shape of a batch of observations."""
        return [self.num_envs, *self._world.observation.shape]

    def _call(self, function, inputs, specs):
        """Runs `function` on arrays, eagerly or as an operation of the graph."""
        if tf.executing_eagerly():
            values = function(*(tf.convert_to_tensor(x).numpy() for x in inputs))
            return tuple(tf.constant(value) for value in values)

        def guarded(*arrays):
            try:
                return function(*arrays)
            except BaseException as error:  # `errors` also raises interrupts
                self.failure = error
                raise

        values = tf.numpy_function(guarded, inputs, [spec.dtype for spec in specs])
        for value, spec in zip(values, specs, strict=True):
            value.set_shape(spec.shape)
        return tuple(values)

    def _host_step(self, inputs, outputs):
        """`(tick, observations, outcome)` in a program of XLA; `tick` is 1.

        An exception cannot end such a program. Instead rewards are NaN from a failure
        on, which stops training loops, and `errors` raises the failure.
        """
        one, *failed = (
            np.full(spec.shape, fill, spec.dtype.as_numpy_dtype)
            for spec, fill in zip(
                [_TICK, *outputs], [1, 0, [[np.nan], [0], [0]]], strict=True
            )
        )

        def step(token, action):
            try:
                return one, *self._world.step(token, action)
            except BaseException as error:  # `errors` also raises interrupts
                self.failure = self.failure or error
                return one, *failed

        specs = tuple(tf.TensorSpec(x.shape, x.dtype) for x in inputs)
        if specs not in self._host_functions:
            function = HostFunction(step, specs, [_TICK, *outputs])
            self._host_functions[specs] = function
        return self._host_functions[specs](*inputs)
