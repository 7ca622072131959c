"""The environment contract and the base class of environments in TensorFlow."""

import contextlib
import warnings
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2._checks import check_positive_integer
from kerasrl2._memory import check_room
from kerasrl2.types import TimeStep

_ROW = 16  # bytes: action, reward, flags


class Environment(tf.Module):
    """`N` independent copies of one environment, stepped in lockstep from a graph.

    `reset` and `step` are pure functions: all that changes is in `state`, a nest of
    tensors with static shapes that compiled loops carry and checkpoints store. Episodes
    that end are reset within the same step ("same-step autoreset"), so every row of a
    `TimeStep` is a transition. Only those whose `always_valid` is False may differ.

    An observation is `[N, ...]`, or for `Dict` and `Tuple` spaces a nest of such.

    Args:
        id: String, the name in messages and logs.
        num_envs: Integer >= 1, the number of copies `N`.
        observation_space: `gymnasium.Space` of one copy.
        action_space: `gymnasium.Space` of one copy.

    Attributes:
        in_graph: Boolean, True if `reset` and `step` consist of TensorFlow operations.
        compilable: Boolean, True if XLA can compile `reset` and `step`: always if
            `in_graph`, and for Python code where XLA's programs run on the CPU.
        always_valid: Boolean, True if all rows of all `TimeStep`s are transitions, so
            that loops need not store `valid`.
        failure: None, or the exception that user code raised in a graph, which
            TensorFlow reports as `tf.errors.UnknownError`, without its cause.
        made_by: None, or what `envs.make` was called with: a callable without
            arguments that makes another such one, for other processes.

    Example:
    >>> from kerasrl2 import envs
    >>> env = envs.make("CartPole-v1", num_envs=3)
    >>> state, observation = env.reset(seed=[0, 1])
    >>> state, time_step = env.step(state, tf.zeros([3], tf.int32), seed=[0, 2])
    >>> time_step.reward.numpy().tolist()
    [1.0, 1.0, 1.0]
    """

    not_state = ("made_by",)
    made_by = None
    in_graph = compilable = False
    always_valid = False

    def __init__(self, id, num_envs, observation_space, action_space):
        super().__init__()
        check_positive_integer("num_envs", num_envs)
        size = num_envs * (2 * observation_bytes(observation_space) + _ROW)
        check_room("num_envs", num_envs, size, f"one step of {id}")
        self.id, self.num_envs = id, int(num_envs)
        self.observation_space, self.action_space = observation_space, action_space
        self.failure, self._runs_on = None, False

    def reset(self, seed):
        """Starts an episode in each copy.

        Args:
            seed: `[2]` int32, as for `tf.random.stateless_uniform`. Equal seeds give
                equal runs.

        Returns:
            `(state, observation)`: a nest of tensors to pass to `step`, and the first
            observations, `[N, ...]` or a nest.
        """
        raise NotImplementedError

    def step(self, state, action, seed):
        """Takes one step in each copy.

        Args:
            state: The state that the latest `reset` or `step` returned.
            action: `[N]` integer for a `Discrete` action space, `[N, ...]` float for a
                `Box`. Each row is an element of `action_space`.
            seed: `[2]` int32, a new one for each step.

        Returns:
            `(state, TimeStep)`.
        """
        raise NotImplementedError

    def is_current(self, state):
        """Whether `step` can go on from `state`: nobody else has moved the copies.

        Only those that hold their state themselves, in Python, can be moved.
        """
        del state
        return True

    def shares_copies_with(self, other):
        """Whether to step another environment moves these copies, too."""
        return self is other and not self.in_graph

    def record_info(self, keys):
        """Keeps entries of `info`, from now on, of each episode that ends.

        Args:
            keys: Sequence of strings; empty for none.
        """
        if keys:
            raise ValueError(
                f"Expected an environment that gives `info`, with `info_keys`: one of "
                f"Gymnasium. Received: info_keys={tuple(keys)} with {self.id!r}, which "
                'has none. Leave it out, or `envs.make(..., backend="gymnasium")`.'
            )

    def finished_info(self):
        """What was kept since the last call, of episodes in the order of their ends.

        Returns:
            List of `(copy, episode, values)`: the copy and its episode since `reset`,
            both from 0, and a float for each of the keys, from the last step.
        """
        return []

    def goal_reward(self, achieved, desired):
        """Rewards and ends that a goal-conditioned environment would have given.

        Args:
            achieved: `[B, ...]`, the entry `achieved_goal` of observations after steps.
            desired: `[B, ...]`, goals to compare it with.

        Returns:
            `(reward, terminated)`: `[B]` float32 and bool.

        Raises:
            ValueError: The environment does not say.
        """
        del achieved, desired
        raise ValueError(
            "Expected an environment that says what rewards other goals give, for "
            f"hindsight: `goal_reward`, or in Gymnasium `compute_reward`. Received: "
            f"{self.id!r} without. Use another replay buffer."
        )

    def in_programs(self):
        """What compiled programs use of it, with its variables; None if nothing."""
        return self if self.in_graph else None

    def close(self):
        """Frees the resources of the copies. May be called twice."""

    @contextlib.contextmanager
    def errors(self, afterwards=False):
        """Raises the original exception that user code raised inside a graph.

        Call compiled functions that step `env` within `with env.errors():`. Instead of
        `tf.errors.UnknownError` it raises `EnvironmentFailure`, with the exception of
        the user's code as its cause; an interrupt remains a `KeyboardInterrupt`.

        Args:
            afterwards: Boolean, whether functions continue after a failure, with NaN
                rewards as in programs of XLA, so that their earlier results are not
                lost. For functions that stop at a NaN.
        """
        self.failure, self._runs_on = None, afterwards
        try:
            yield
        except Exception:
            self._runs_on = False
            failure, self.failure = self.failure, None
            if failure is None:
                raise
            raise failure from failure.__cause__
        self._runs_on = False
        failure, self.failure = self.failure, None
        if failure is not None:  # XLA programs do not end with an exception
            raise failure from failure.__cause__

    def _checked_action(self, action):
        """`action` as a tensor, with its static shape and dtype checked."""
        action = tf.convert_to_tensor(action)
        shape = (self.num_envs, *self.action_space.shape)
        integer = np.issubdtype(self.action_space.dtype, np.integer)
        if (
            not action.shape.is_compatible_with(shape)
            or action.dtype.is_integer != integer
        ):
            raise ValueError(
                f"Expected {'integer' if integer else 'float'} actions of shape "
                f"{shape} for {self.id}, each in {self.action_space}. "
                f"Received: shape {tuple(action.shape)}, dtype {action.dtype.name}"
            )
        return action


class EpisodeState(NamedTuple):
    """State of a `TensorFlowEnvironment`.

    Attributes:
        physics: Nest of `[N, ...]` tensors, the state of the simulation.
        elapsed: `[N]` int32, steps taken in the current episode.
    """

    physics: Any
    elapsed: Any


class TensorFlowEnvironment(Environment):
    """Base class of environments in TensorFlow, `N` copies in one set of operations.

    A subclass defines `initial`, `transition` and `observe`, and `apply_chance` if
    more than the first states is random. This class counts steps, truncates episodes at
    the time limit and starts new ones. At the limit `truncated` is True whether or not
    the step also terminated, as with Gymnasium's `TimeLimit`.

    Args:
        id: String, the name in messages and logs.
        num_envs: Integer >= 1, the number of copies `N`.
        observation_space: `gymnasium.Space` of one copy.
        action_space: `gymnasium.Space` of one copy, `Discrete` or `Box`.
        max_episode_steps: Integer >= 1 or None, the time limit in steps.

    Example:
    >>> class Countdown(TensorFlowEnvironment):
    ...     def __init__(self, num_envs=1):
    ...         box, discrete = spaces.Box(0.0, 3.0, [1]), spaces.Discrete(2)
    ...         super().__init__("Countdown", num_envs, box, discrete, 9)
    ...
    ...     def initial(self, seed, n):
    ...         return tf.fill([n, 1], 3.0)
    ...
    ...     def transition(self, physics, action):
    ...         left = physics - tf.cast(action, tf.float32)[:, None]
    ...         return left, tf.ones(left.shape[0]), left[:, 0] <= 0.0
    ...
    ...     def observe(self, physics):
    ...         return physics
    >>> env = Countdown(num_envs=2)
    >>> state, observation = env.reset(tf.constant([0, 0]))
    >>> for _ in range(3):
    ...     state, time_step = env.step(state, tf.constant([0, 1]), tf.constant([0, 1]))
    >>> time_step.terminated.numpy().tolist()
    [False, True]
    >>> time_step.next_observation[:, 0].numpy().tolist()
    [3.0, 0.0]
    >>> time_step.observation[:, 0].numpy().tolist()
    [3.0, 3.0]
    """

    in_graph = compilable = always_valid = True

    def __init__(
        self, id, num_envs, observation_space, action_space, max_episode_steps=None
    ):
        super().__init__(id, num_envs, observation_space, action_space)
        if max_episode_steps is not None:
            check_positive_integer("max_episode_steps", max_episode_steps)
        self.max_episode_steps = max_episode_steps

    def initial(self, seed, n):
        """First states of `n` episodes.

        Args:
            seed: `[2]` int32.
            n: Integer, the number of episodes.

        Returns:
            Nest of `[n, ...]` tensors.
        """
        raise NotImplementedError

    def apply_chance(self, physics, action, seed):
        """Randomises a state and an action before `transition`.

        All randomness within an episode belongs here, so that `transition` stays
        deterministic: sticky or noisy actions are returned changed, other random draws
        as a part of the returned physics. By default nothing changes.

        Args:
            physics: Nest of `[N, ...]` tensors.
            action: `[N]` integer or `[N, ...]` float, the agent's.
            seed: `[2]` int32, new at each step and different from that of `initial`.

        Returns:
            `(physics, action)`.
        """
        return physics, action

    def transition(self, physics, action):
        """One step of the simulation, without time limit and reset.

        Args:
            physics: Nest of `[N, ...]` tensors.
            action: `[N]` integer or `[N, ...]` float.

        Returns:
            `(physics, reward, terminated)`, the last two `[N]` float32 and `[N]` bool.
        """
        raise NotImplementedError

    def observe(self, physics):
        """The observations of `physics`: `[N, ...]`, or a nest like their space."""
        raise NotImplementedError

    def picture(self, physics):
        """A picture of one copy's state, for recordings; define it to have them.

        Args:
            physics: Nest of `[1, ...]` tensors.

        Returns:
            `[height, width, 3]` uint8 NumPy array, of one size throughout.
        """
        raise ValueError(
            f"Expected an environment that draws itself. Received: {self.id!r}, whose "
            f"class {type(self).__name__} does not define `picture(self, physics)`. "
            "Define it: what to return is in `TensorFlowEnvironment.picture`."
        )

    def reset(self, seed):
        physics = self.initial(seed, self.num_envs)
        elapsed = tf.zeros([self.num_envs], tf.int32)
        return EpisodeState(physics, elapsed), self.observe(physics)

    def step(self, state, action, seed):
        action = self._checked_action(action)
        chance = tf.random.fold_in(seed, 1, alg="philox")
        physics, action = self.apply_chance(state.physics, action, chance)
        physics, reward, terminated = self.transition(physics, action)
        elapsed = state.elapsed + 1
        if self.max_episode_steps is None:
            truncated = tf.zeros_like(terminated)
        else:
            truncated = elapsed >= self.max_episode_steps
        ended = terminated | truncated
        first = self.initial(seed, self.num_envs)
        current = tf.nest.map_structure(
            lambda new, old: tf.where(_align(ended, new), new, old), first, physics
        )
        time_step = TimeStep(
            observation=self.observe(current),
            next_observation=self.observe(physics),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            valid=tf.ones([self.num_envs], tf.bool),
        )
        return EpisodeState(current, tf.where(ended, 0, elapsed)), time_step


def observation_bytes(space):
    """Bytes of one observation, as agents get it; unknown spaces count as 0."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        entries = space.values() if isinstance(space, spaces.Dict) else space
        return sum(map(observation_bytes, entries))
    shape, dtype = getattr(space, "shape", None), getattr(space, "dtype", None)
    if shape is None or dtype is None:
        return 0
    return int(np.prod(shape, dtype=np.float64)) * min(np.dtype(dtype).itemsize, 8)


def _align(mask, tensor):
    """`mask` `[N]` with trailing axes of size 1 up to the rank of `tensor`."""
    return tf.reshape(mask, [*mask.shape, *[1] * (len(tensor.shape) - 1)])


def warn_of_others(env, stacklevel):
    """Warns that others have reset or stepped the copies of an `Environment`.

    What they did is no transition.
    """
    warnings.warn(
        f"{env.id} was reset or stepped by others since this run's last step: new "
        "episodes begin, those under way are not counted. Give training and everything "
        "else an environment each, by its id or by a callable.",
        stacklevel=stacklevel + 1,
    )
