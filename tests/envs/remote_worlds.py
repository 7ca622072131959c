"""Environments for processes of their own: this file imports no TensorFlow."""

import os
import signal
import sys
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class Walks(gymnasium.Env):
    """A random walk of seven steps; `fault()` is called in step `at`.

    Args:
        fault: Callable or None.
        at: Integer, of all steps; 0 is in `reset`.
    """

    observation_space = spaces.Box(-np.inf, np.inf, [2])
    action_space = spaces.Discrete(3)

    def __init__(self, fault=None, at=3):
        self.fault, self.at, self.clock = fault, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.fault and self.at == 0:
            self.fault()
        self.time, self.place = 0, self.np_random.normal()
        return self._show(), {"not fit to travel": lambda: None}

    def step(self, action):
        self.clock, self.time = self.clock + 1, self.time + 1
        if self.fault and self.clock == self.at:
            value = self.fault()
            if value is not None:
                return value
        self.place += float(action) + self.np_random.normal()
        end, cut = self.time == 7, self.place > 5.0
        return self._show(), self.place, end, bool(cut), {"no": lambda: None}

    def _show(self):
        return np.array([self.place, self.time], np.float32)


class Reports(Walks):
    """Tells the length of the episode so far, and what is no number."""

    def step(self, action):
        *result, _ = super().step(action)
        result[3] = False
        return *result, {"length": self.time, "not fit to travel": [1, 2]}


def hang():
    time.sleep(3600.0)


def leave():
    os._exit(3)


def leave_politely():
    sys.exit(4)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def boom():
    raise ZeroDivisionError("boom")


class Untravelled(Exception):
    """Cannot be made from its arguments."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def raise_untravelled():
    raise Untravelled(1, 2)


def wrong_shape():
    return np.zeros(3, np.float32), 0.0, False, False, {}


def too_few():
    return np.zeros(2, np.float32), 0.0, False


def imports_tensorflow():
    return "tensorflow" in sys.modules


class Watches(Walks):
    """Pays 1 if TensorFlow was imported into its process."""

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(imports_tensorflow()), *rest
