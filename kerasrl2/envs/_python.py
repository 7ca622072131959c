"""Environments that run in Python, called from TensorFlow graphs."""

import numpy as np
import tensorflow as tf

from kerasrl2._private import in_xla_context
from kerasrl2.envs._host_call import HostFunction, available
from kerasrl2.envs._spaces import without_text
from kerasrl2.envs.core import Environment
from kerasrl2.types import TimeStep

_TICK = tf.TensorSpec([], tf.int32)


class PythonEnvironment(Environment):
    """`N` copies of an environment in Python, stepped by one operation of a graph.

    The copies hold their own state. `state` is a number that they check: it must come
    from the latest `reset` or `step`.

    Args:
        id: String, the name in messages and logs.
        world: `World`, the copies.
    """

    def __init__(self, id, world):
        space = without_text(world.observation_space)
        super().__init__(id, world.num_envs, space, world.action_space)
        self._world, self.always_valid = world, world.always_valid
        self._host_functions = {}

    @property
    def compilable(self):
        return available()

    def reset(self, seed):
        outputs = [_TICK, *self._specs(self.num_envs)]
        state, *observation = self._call(
            self._world.reset, [seed], outputs, _failed(outputs)
        )
        return state, self._nest(observation)

    def step(self, state, action, seed):
        """Takes one step in each copy. `seed` is not used: `reset` seeds the copies."""
        inputs = [state, self._checked_action(action)]
        rows = 3 if self.always_valid else 4
        outputs = [*self._specs(2, self.num_envs), tf.TensorSpec([rows, self.num_envs])]
        if in_xla_context():
            tick, *observations, outcome = self._host_step(inputs, outputs)
        else:
            *observations, outcome = self._call(
                self._world.step, inputs, outputs, _failed(outputs, nan=-1)
            )
            with tf.control_dependencies([outcome]):
                tick = tf.ones([], tf.int32)
        current, following = zip(*map(tf.unstack, observations), strict=True)
        reward, terminated, truncated, *valid = tf.unstack(outcome)
        return state + tick, TimeStep(
            observation=self._nest(current),
            next_observation=self._nest(following),
            reward=reward,
            terminated=terminated > 0,
            truncated=truncated > 0,
            valid=valid[0] > 0 if valid else tf.ones([self.num_envs], tf.bool),
        )

    def goal_reward(self, achieved, desired):
        """`compute_reward` of the first copy, and `compute_terminated` if there is one.

        Both are called with whole batches and an empty `info`.
        """
        judge = self._world.goal_judge()
        if judge is None:
            return super().goal_reward(achieved, desired)

        def judged(achieved, desired):
            reward = np.asarray(judge.compute_reward(achieved, desired, {}), np.float32)
            ended = np.zeros(len(achieved), bool)
            if hasattr(judge, "compute_terminated"):
                ended |= np.asarray(judge.compute_terminated(achieved, desired, {}))
            if reward.shape != ended.shape:
                raise ValueError(
                    f"Expected `compute_reward` of {self.id!r} to take batches, and to "
                    f"return shape {ended.shape}. Received: {reward.shape}"
                )
            return reward, ended

        reward, ended = tf.numpy_function(
            judged, [achieved, desired], [tf.float32, tf.bool]
        )
        shape = achieved.shape[:1]
        return tf.ensure_shape(reward, shape), tf.ensure_shape(ended, shape)

    def is_current(self, state):
        return self._world.is_current(int(state))

    def shares_copies_with(self, other):
        both = isinstance(other, PythonEnvironment)
        return both and other.holds_copies_of(self._world)

    def holds_copies_of(self, world):
        """Whether another world has one of these copies."""
        return self._world.shares_copies_with(world)

    def record_info(self, keys):
        self._world.record_info(keys)

    def finished_info(self):
        return self._world.finished_info()

    def close(self):
        self._world.close()

    def _specs(self, *axes):
        """`tf.TensorSpec`s of the arrays of an observation, after some axes."""
        leaves = tf.nest.flatten(self._world.observation.structure)
        return [tf.TensorSpec([*axes, *leaf.shape], leaf.dtype) for leaf in leaves]

    def _nest(self, tensors):
        """An observation of its tensors."""
        return tf.nest.pack_sequence_as(self._world.observation.structure, tensors)

    def _call(self, function, inputs, specs, failed):
        """Runs `function` on arrays, eagerly or as an operation of the graph.

        `failed` stands for its results where `errors` lets what runs go on.
        """

        def guarded(*arrays):
            try:
                return function(*arrays)
            except BaseException as error:  # `errors` also raises interrupts
                self.failure = self.failure or error
                if self._runs_on:
                    return failed
                raise

        if tf.executing_eagerly():
            values = guarded(*(tf.convert_to_tensor(x).numpy() for x in inputs))
            return tuple(tf.constant(value) for value in values)
        values = tf.numpy_function(guarded, inputs, [spec.dtype for spec in specs])
        for value, spec in zip(values, specs, strict=True):
            value.set_shape(spec.shape)
        return tuple(values)

    def _host_step(self, inputs, outputs):
        """`(tick, *observations, outcome)` in a program of XLA; `tick` is 1.

        An exception cannot end such a program. Instead rewards are NaN from a failure
        on, which stops training loops, and `errors` raises the failure.
        """
        one, failed = np.ones([], np.int32), _failed(outputs, nan=-1)

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


def _failed(specs, nan=None):
    """Zeros for the results of a call that failed, row 0 of number `nan` being NaN."""
    zeros = [np.zeros(spec.shape, spec.dtype.as_numpy_dtype) for spec in specs]
    if nan is not None:
        zeros[nan][0] = np.nan
    return tuple(zeros)
