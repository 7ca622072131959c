"""A replay buffer as one would write it without a thought for speed, and a feeder."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

MODES = ("numpy", "eager", "graph", "xla")


def wrap(mode, function):
    """`function` in one of `MODES`, arguments as they come."""
    if mode in ("numpy", "eager"):
        return function
    return tf.function(function, jit_compile=mode == "xla")


class Row(NamedTuple):
    """One step of one environment; `begins`: an episode begins with it."""

    observation: object
    action: object
    reward: float
    terminated: bool
    truncated: bool
    next_observation: object
    begins: bool = False


class NaiveReplay:
    """Lists of rows, one for each environment; nothing is ever forgotten."""

    def __init__(self, num_envs, n_step, gamma):
        self.columns = [[] for _ in range(num_envs)]
        self.n_step, self.gamma = n_step, gamma

    def add(self, rows, valid):
        for column, row, keep in zip(self.columns, rows, valid, strict=True):
            if keep:
                column.append(row)

    def get(self, index):
        """`(observation, action, reward, discount, next_observation)` of an index."""
        column = self.columns[index % len(self.columns)]
        number = index // len(self.columns)
        first, reward, discount = column[number], 0.0, 1.0
        for step in range(self.n_step):
            if number + step == len(column) or (step and column[number + step].begins):
                break
            row = column[number + step]
            reward += discount * row.reward
            discount *= self.gamma * (1.0 - row.terminated)
            last = row
            if row.terminated or row.truncated:
                break
        return first.observation, first.action, reward, discount, last.next_observation


class Feeder:
    """Episodes of random lengths, every frame a number of its own.

    Args:
        num_envs: Integer.
        stack: Integer, frames in an observation of shape `[stack]`.
        seed: Integer.
        jumps: Float, how often an observation does not follow the last one.
        ends: Float, how often an episode ends.
        gaps: Float, how often a row is not valid.
    """

    def __init__(self, num_envs, stack=1, seed=0, jumps=0.0, ends=0.2, gaps=0.2):
        self.rng = np.random.default_rng(seed)
        self.num_envs, self.stack = num_envs, stack
        self.jumps, self.ends, self.gaps = jumps, ends, gaps
        self.frame, self.current = 0, [None] * num_envs

    def first(self):
        self.frame += 1
        return np.full([self.stack], self.frame, np.float32)

    def following(self, observation):
        self.frame += 1
        return np.append(observation[1:], np.float32(self.frame))

    def step(self):
        """`(rows, valid)`; rows that are not valid are rubbish."""
        valid = self.rng.random(self.num_envs) >= self.gaps
        rows = []
        for n, keep in enumerate(valid):
            begins = self.current[n] is None or self.rng.random() < self.jumps
            now = self.first() if begins else self.current[n]
            then = self.following(now)
            end = self.rng.random(2) < self.ends / 2
            row = Row(now, self.rng.integers(9), self.rng.normal(), *end, then, begins)
            rows.append(row)
            if keep:
                self.current[n] = None if end.any() else then
        return rows, valid


def columns_of(rows, valid):
    """The arguments of `add`, as arrays of static dtypes."""
    fields = [np.stack([np.asarray(row[k]) for row in rows]) for k in range(6)]
    dtypes = (np.float32, np.int32, np.float32, np.bool_, np.bool_, np.float32)
    fields = [x.astype(dtype) for x, dtype in zip(fields, dtypes, strict=True)]
    return [*fields, np.asarray(valid)]


def as_arguments(mode, fields):
    """Arrays for NumPy and eager calls, tensors for traced functions."""
    return fields if mode in ("numpy", "eager") else [tf.constant(x) for x in fields]
