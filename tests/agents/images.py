"""A Gymnasium environment with small images."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Images(gymnasium.Env):
    """Grey images of 36 x 36; three steps an episode."""

    observation_space = spaces.Box(0, 255, [36, 36, 1], np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._image(), {}

    def step(self, action):
        self.time += 1
        return self._image(), float(action), self.time == 3, False, {}

    def _image(self):
        return np.full([36, 36, 1], 60 * self.time, np.uint8)
