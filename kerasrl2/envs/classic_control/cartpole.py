"""CartPole: keep a pole upright on a cart."""

import math

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs._drawing import cart_and_pole
from kerasrl2.envs._random import uniform
from kerasrl2.envs.core import TensorFlowEnvironment

GRAVITY = 9.8  # m / s^2
POLE_MASS, TOTAL_MASS = 0.1, 1.1  # kg
HALF_LENGTH = 0.5  # m, from the joint to the pole's centre of mass
FORCE = 10.0  # N
TIME_STEP = 0.02  # s
MAX_POSITION, MAX_ANGLE = 2.4, math.radians(12)  # m, rad


class CartPole(TensorFlowEnvironment):
    """Push a cart left or right so that the pole hinged on it stays up.

    Barto, Sutton and Anderson (1983), https://doi.org/10.1109/TSMC.1983.6313077, in
    the frictionless form of Gymnasium's `CartPole`. Reward 1 for each step; terminates
    when the cart leaves +-2.4 m or the pole +-12 degrees.

    Observation: `[N, 4]` float32, position (m), velocity (m/s), angle (rad), angular
    velocity (rad/s). Action: `[N]`, 0 pushes left, 1 right. In `CartPoleNoVel-v1`
    velocities are not seen (`[N, 2]`): only a policy that remembers can balance it.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit; 500 in `CartPole-v1`, 200 in
            `CartPole-v0`.
        velocities: Boolean, whether observations have them.
        id: String, the name in messages and logs.
    """

    def __init__(
        self, num_envs=1, max_episode_steps=500, velocities=True, id="CartPole-v1"
    ):
        self.velocities = velocities
        high = [2 * MAX_POSITION, math.inf, 2 * MAX_ANGLE, math.inf]
        high = np.array(high[:: 1 if velocities else 2], np.float32)
        observation_space = spaces.Box(-high, high)
        super().__init__(
            id, num_envs, observation_space, spaces.Discrete(2), max_episode_steps
        )

    def initial(self, seed, n):
        return uniform(seed, [n, 4], -0.05, 0.05)

    def transition(self, physics, action):
        position, velocity, angle, spin = tf.unstack(physics, axis=1)
        force = tf.where(action == 1, FORCE, -FORCE)
        cos, sin = tf.cos(angle), tf.sin(angle)
        push = (force + POLE_MASS * HALF_LENGTH * spin**2 * sin) / TOTAL_MASS
        inertia = HALF_LENGTH * (4 / 3 - POLE_MASS * cos**2 / TOTAL_MASS)
        spin_rate = (GRAVITY * sin - cos * push) / inertia
        acceleration = push - POLE_MASS * HALF_LENGTH * spin_rate * cos / TOTAL_MASS
        position += TIME_STEP * velocity  # explicit Euler: with the old velocity
        velocity += TIME_STEP * acceleration
        angle += TIME_STEP * spin
        spin += TIME_STEP * spin_rate
        terminated = (tf.abs(position) > MAX_POSITION) | (tf.abs(angle) > MAX_ANGLE)
        physics = tf.stack([position, velocity, angle, spin], axis=1)
        return physics, tf.ones_like(position), terminated

    def observe(self, physics):
        return physics if self.velocities else physics[:, ::2]

    def picture(self, physics):
        position, _, angle, _ = physics.numpy()[0]
        return cart_and_pole(position, angle, 2 * HALF_LENGTH, MAX_POSITION)
