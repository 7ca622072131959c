"""Mountain car: swing a weak car out of a valley, with discrete or continuous force."""

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs._drawing import car_on_hill
from kerasrl2.envs._random import uniform
from kerasrl2.envs.core import TensorFlowEnvironment

MIN_POSITION, MAX_POSITION = -1.2, 0.6
MAX_SPEED = 0.07
GRAVITY = 0.0025
HIGH = np.array([MAX_POSITION, MAX_SPEED], np.float32)
LOW = np.array([MIN_POSITION, -MAX_SPEED], np.float32)


class MountainCar(TensorFlowEnvironment):
    """Drive a car that is too weak for the hill to the flag, with three actions.

    Moore (1990), https://www.cl.cam.ac.uk/techreports/UCAM-CL-TR-209.html. Reward -1
    for each step; terminates at position 0.5 or beyond.

    Observation: `[N, 2]` float32, position and velocity per step. Action: `[N]`, 0
    accelerates left, 1 coasts, 2 accelerates right.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit.
        id: String, the name in messages and logs.
    """

    force, goal = 0.001, 0.5

    def __init__(self, num_envs=1, max_episode_steps=200, id="MountainCar-v0"):
        super().__init__(
            id, num_envs, spaces.Box(LOW, HIGH), spaces.Discrete(3), max_episode_steps
        )

    def initial(self, seed, n):
        position = uniform(seed, [n, 1], -0.6, -0.4)
        return tf.concat([position, tf.zeros_like(position)], axis=1)

    def transition(self, physics, action):
        physics = self._drive(physics, (tf.cast(action, tf.float32) - 1) * self.force)
        return physics, -tf.ones(physics.shape[0]), self._arrived(physics)

    def observe(self, physics):
        return physics

    def picture(self, physics):
        position = physics.numpy()[0, 0]
        return car_on_hill(position, self.goal, MIN_POSITION, MAX_POSITION)

    def _drive(self, physics, acceleration):
        """One step; a car at the left wall stops."""
        position, velocity = tf.unstack(physics, axis=1)
        velocity += acceleration - GRAVITY * tf.cos(3 * position)
        velocity = tf.clip_by_value(velocity, -MAX_SPEED, MAX_SPEED)
        position += velocity
        position = tf.clip_by_value(position, MIN_POSITION, MAX_POSITION)
        blocked = (position <= MIN_POSITION) & (velocity < 0)
        return tf.stack([position, tf.where(blocked, 0.0, velocity)], axis=1)

    def _arrived(self, physics):
        position, velocity = tf.unstack(physics, axis=1)
        return (position >= self.goal) & (velocity >= 0)


class MountainCarContinuous(MountainCar):
    """Mountain car with a force in [-1, 1] as the action.

    As in Gymnasium, the force is clipped to this range, but the reward
    `-0.1 * action^2` uses the unclipped action; plus 100 on arrival at position 0.45 or
    beyond, which terminates.

    Observation: `[N, 2]` float32, position and velocity per step. Action: `[N, 1]`
    float, to the right if positive.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit.
        id: String, the name in messages and logs.
    """

    force, goal = 0.0015, 0.45

    def __init__(
        self, num_envs=1, max_episode_steps=999, id="MountainCarContinuous-v0"
    ):
        super().__init__(num_envs, max_episode_steps, id)
        self.action_space = spaces.Box(-1.0, 1.0, [1])

    def transition(self, physics, action):
        action = action[:, 0]
        physics = self._drive(physics, self.force * tf.clip_by_value(action, -1.0, 1.0))
        arrived = self._arrived(physics)
        reward = tf.where(arrived, 100.0, 0.0) - 0.1 * action**2
        return physics, reward, arrived
