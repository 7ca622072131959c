"""Vector environments for the tests, and what their transitions must be."""

import functools
from typing import NamedTuple

import gymnasium
import numpy as np
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.envs.worlds import SEED

MODES = list(AutoresetMode)
LENGTHS = (2, 3, 3)  # of episodes in each environment
ENDS = ((False, True), (True, False), (True, True))  # terminated, truncated


class Counting(gymnasium.Env):
    """Observes (episode, time); the reward is `10 * episode + time`.

    Args:
        length: Integer, steps of an episode.
        ends: Pair, whether the last step terminates and whether it truncates.
        space: None, or `"Dict"` to observe the same as a dictionary.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, length, ends=(True, False), space=None):
        self.length, self.ends, self.space = length, ends, space
        self.episode = -1
        box = spaces.Box(0.0, 99.0, [2])
        self.observation_space = box
        if space == "Dict":
            self.observation_space = spaces.Dict(at=box, time=spaces.Discrete(99))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode = 0 if seed is not None else self.episode + 1
        self.time = 0
        return self.show(), {"told": 0.0}

    def step(self, action):
        self.time += 1
        last = self.time == self.length
        reward, ends = 10.0 * self.episode + self.time, (last and e for e in self.ends)
        return self.show(), reward, *ends, {"told": reward, "only": float(self.length)}

    def show(self):
        at = np.float32([self.episode, self.time])
        return at if self.space is None else {"at": at, "time": self.time}


def counting(mode, cls=SyncVectorEnv, space=None, **kwargs):
    """Three of `Counting` with `LENGTHS` and `ENDS`."""
    settings = zip(LENGTHS, ENDS, strict=True)
    return cls(
        [functools.partial(Counting, *setting, space) for setting in settings],
        autoreset_mode=mode,
        **kwargs,
    )


class Transition(NamedTuple):
    """One step of one environment."""

    observation: object
    action: object
    reward: float
    terminated: bool
    truncated: bool
    following: object


def expected_of_counting(index, count):
    """The first `count` transitions of an environment of `counting`."""
    length, (end, cut) = LENGTHS[index], ENDS[index]
    found = []
    for number in range(count):
        episode, time = divmod(number, length)
        last = time == length - 1
        found.append(
            Transition(
                np.array([episode, time]), None, 10.0 * episode + time + 1.0,
                last and end, last and cut, np.array([episode, time + 1]),
            )
        )  # fmt: skip
    return found


def transitions(env, actions, mode=tf.function):
    """The valid transitions of each copy of an `Environment`, and all `valid`.

    Args:
        env: `Environment`.
        actions: `[T, N, ...]`.
        mode: Compiles `reset` and `step`.
    """
    reset, step = mode(env.reset), mode(env.step)
    found, valid = [[] for _ in range(env.num_envs)], []
    with env.errors():
        state, shown = reset(SEED)
        for action in actions:
            state, after = step(state, tf.constant(action), SEED)
            for i in np.flatnonzero(after.valid):
                parts = shown, action, after.reward, after.terminated
                parts += after.truncated, after.next_observation
                found[i].append(Transition(*row(parts, i)))
            shown = after.observation
            valid.append(after.valid.numpy())
    return found, np.array(valid)


def by_hand(vector, actions, seed):
    """What `transitions` has to give, from a vector environment's own interface."""
    n, mode = vector.num_envs, AutoresetMode(vector.metadata["autoreset_mode"])
    found, over = [[] for _ in range(n)], [False] * n
    shown = copied(vector.reset(**seed)[0])
    for action in actions:
        seen, reward, terminated, truncated, info = vector.step(action)
        following = copied(seen)
        seen = following
        starting, over = over, [bool(x) for x in terminated | truncated]
        if mode == AutoresetMode.DISABLED and any(over):
            seen = copied(vector.reset(options={"reset_mask": np.array(over)})[0])
        for i in range(n):
            if mode == AutoresetMode.NEXT_STEP and starting[i]:
                over[i] = False
                continue
            last = row(following, i)
            if mode == AutoresetMode.SAME_STEP and over[i]:
                last = row(info["final_obs"], i)
            flags = bool(terminated[i]), bool(truncated[i])
            found[i].append(
                Transition(row(shown, i), action[i], reward[i], *flags, last)
            )
        shown = seen
    return found


def seed_of(env):
    """The integer that a `GymnasiumEnvironment` resets a `VectorEnv` with by `SEED`."""
    first = np.random.SeedSequence(SEED.numpy().tolist()).generate_state(1)[0]
    return int(first) % (2**31 - env.num_envs)


def row(nest, index):
    return tf.nest.map_structure(lambda x: np.asarray(x)[index], nest)


def copied(nest):
    return tf.nest.map_structure(np.array, nest)


def assert_equal(received, expected):
    """Both are lists, for each environment, of `Transition`s."""
    for mine, theirs in zip(received, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            b = b._replace(action=a.action) if b.action is None else b
            tf.nest.map_structure(
                lambda x, y: np.testing.assert_array_equal(
                    np.asarray(x, np.float32), np.asarray(y, np.float32)
                ),
                list(a),
                list(b),
            )
