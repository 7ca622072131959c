"""Pendulum: swing up and balance with a weak motor."""

import math

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs._drawing import joints
from kerasrl2.envs._random import uniform
from kerasrl2.envs.core import TensorFlowEnvironment

GRAVITY = 10.0  # m / s^2
MASS, LENGTH = 1.0, 1.0  # kg, m
MAX_TORQUE, MAX_SPEED = 2.0, 8.0  # N m, rad / s
TIME_STEP = 0.05  # s


def wrap_angle(angle):
    """`angle` (rad) moved by whole turns into [-pi, pi].

    >>> round(float(wrap_angle(tf.constant(3.5))), 4)
    -2.7832
    """
    return angle - 2 * math.pi * tf.round(angle / (2 * math.pi))


class Pendulum(TensorFlowEnvironment):
    """Swing a rod up and hold it there with little torque.

    Gymnasium's `Pendulum-v1`: the reward of a step is
    `-(angle^2 + 0.1 * speed^2 + 0.001 * torque^2)`, with the state before the step and
    the clipped torque. Never terminates.

    Observation: `[N, 3]` float32, cosine and sine of the angle (0 is upright), angular
    velocity (rad/s). Action: `[N, 1]` float, torque in [-2, 2] N m, clipped to that.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit.
        id: String, the name in messages and logs.
    """

    def __init__(self, num_envs=1, max_episode_steps=200, id="Pendulum-v1"):
        high = np.array([1.0, 1.0, MAX_SPEED], np.float32)
        super().__init__(
            id,
            num_envs,
            spaces.Box(-high, high),
            spaces.Box(-MAX_TORQUE, MAX_TORQUE, [1]),
            max_episode_steps,
        )

    def initial(self, seed, n):
        return uniform(seed, [n, 2], -1.0, 1.0) * [[math.pi, 1.0]]

    def transition(self, physics, action):
        angle, speed = tf.unstack(physics, axis=1)  # wrapped, to keep float32 exact
        torque = tf.clip_by_value(action[:, 0], -MAX_TORQUE, MAX_TORQUE)
        cost = angle**2 + 0.1 * speed**2 + 0.001 * torque**2
        rate = 1.5 * GRAVITY / LENGTH * tf.sin(angle) + 3 / (MASS * LENGTH**2) * torque
        speed = tf.clip_by_value(speed + TIME_STEP * rate, -MAX_SPEED, MAX_SPEED)
        angle = wrap_angle(angle + TIME_STEP * speed)
        physics = tf.stack([angle, speed], axis=1)
        return physics, -cost, tf.zeros(cost.shape, tf.bool)

    def observe(self, physics):
        angle, speed = tf.unstack(physics, axis=1)
        return tf.stack([tf.cos(angle), tf.sin(angle), speed], axis=1)

    def picture(self, physics):
        angle = physics.numpy()[0, 0]  # 0 is upright, and it grows to the left
        return joints([(0.0, 0.0), (-math.sin(angle), math.cos(angle))])
