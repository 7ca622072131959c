"""Environments that go wrong, in workers' processes."""

import os
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class World(gymnasium.Env):
    """One number, which counts steps; episodes of 20 steps."""

    observation_space = spaces.Box(-1e6, 1e6, [2], np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, seconds=0.0, fails_at=None, hangs_at=None, flag=None):
        self.seconds, self.fails_at, self.hangs_at = seconds, fails_at, hangs_at
        self.steps, self.flag = 0, flag

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.now, self.first = 0, self.np_random.random()
        return self._observation(), {}

    def step(self, action):
        self.now, self.steps = self.now + 1, self.steps + 1
        time.sleep(self.seconds)
        if self.steps == self.fails_at:
            raise KeyError("the door is locked")
        if self.steps == self.hangs_at and not os.path.exists(self.flag):
            with open(self.flag, "w"):
                pass
            time.sleep(1000)
        return self._observation(), 1.0, self.now >= 20, False, {"steps": self.steps}

    def _observation(self):
        return np.array([self.now, self.first], np.float32)


class Wide(World):
    """Observations of 8 KB."""

    observation_space = spaces.Box(-1e6, 1e6, [2000], np.float32)

    def _observation(self):
        return np.full([2000], self.now, np.float32)
