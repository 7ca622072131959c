"""Small Gymnasium environments for the tests."""

import gymnasium
import numpy as np
import tensorflow as tf
from gymnasium import spaces

SEED = tf.constant([0, 1])


def play(env, actions, mode=tf.function, seed=SEED):
    """First observation and the time steps for `actions` `[T, N]`, stacked."""
    reset, step = mode(env.reset), mode(env.step)
    with env.errors():
        state, first = reset(seed)
        time_steps = []
        for action in actions:
            state, time_step = step(state, tf.constant(action), seed)
            time_steps.append(time_step)
    stacked = tf.nest.map_structure(lambda *values: np.stack(values), *time_steps)
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), first), stacked


class ThreeSteps(gymnasium.Env):
    """Episodes of three steps; the last ends in the way the action says.

    Observes (number of the episode, time in it, a random number of the episode). Action
    1 at time 3 terminates, action 0 truncates, action 2 does both. The reward is
    `10 * episode + time`.
    """

    observation_space = spaces.Box(-np.inf, np.inf, [3], np.float64)
    action_space = spaces.Discrete(3)

    def __init__(self):
        self.episode, self.closed = -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.episode = -1
        self.episode, self.time = self.episode + 1, 0
        self.noise = self.np_random.random()
        return self._observation(), {}

    def step(self, action):
        if self.time == 3:
            raise RuntimeError("stepped after the end")
        self.time += 1
        last = self.time == 3
        reward = 10.0 * self.episode + self.time
        ends = last and action in (1, 2), last and action in (0, 2)
        return self._observation(), reward, *map(bool, ends), {}

    def close(self):
        self.closed += 1

    def _observation(self):
        return np.array([self.episode, self.time, self.noise])


class Fails(ThreeSteps):
    """Returns `fault(result)` from call number `at` of `where` instead of its result.

    `where` is `"reset"` or `"step"`; calls are counted from 1, without the reset by
    which `envs.make` looks for action masks.
    """

    def __init__(self, where, at, fault):
        super().__init__()
        self.where, self.at, self.fault = where, at, fault
        self.calls = {"reset": 0, "step": 0}

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed)
        return result if seed == 0 else self._maybe("reset", result)

    def step(self, action):
        return self._maybe("step", super().step(action))

    def _maybe(self, method, result):
        self.calls[method] += 1
        if method == self.where and self.calls[method] == self.at:
            return self.fault(result)
        return result


class Chain5(gymnasium.Env):
    """`Chain-5` for Gymnasium, without time limit."""

    observation_space = spaces.Box(0.0, 1.0, [5])
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = 0
        return np.eye(5, dtype=np.float32)[0], {}

    def step(self, action):
        self.state = self.state + 1 if action == 1 else max(self.state - 1, 0)
        end = self.state == 4
        return np.eye(5, dtype=np.float32)[self.state], float(end), end, False, {}


class Endless1(gymnasium.Env):
    """`Endless-1` for Gymnasium, without time limit."""

    observation_space = spaces.Box(0.0, 1.0, [1])
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), 1.0, False, False, {}


class Match(gymnasium.Env):
    """One step; a third of a point for each of three integers as the picture says.

    A random policy gets 0.5 of 1 where there are two choices each.
    """

    observation_space = spaces.Box(0.0, 1.0, [3])

    def __init__(self, action_space):
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.right = self.np_random.integers(0, 2, 3)
        return self.right.astype(np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        reward = float(np.mean(np.ravel(action) == self.right))
        return self.right.astype(np.float32), reward, True, False, {}


class Spaces(gymnasium.Env):
    """Observes a sample of `observation_space`; keeps and then spoils its actions."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        self.actions.append(np.array(action))
        self.types = type(action), getattr(action, "dtype", None)
        if isinstance(action, np.ndarray):
            action[...] = 0
        return self.observation_space.sample(), np.float64(0), np.False_, np.False_, {}
