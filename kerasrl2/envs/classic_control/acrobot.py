"""Acrobot: swing the tip of a two-link robot above the bar."""

import math

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs._drawing import joints
from kerasrl2.envs._random import uniform
from kerasrl2.envs.classic_control.pendulum import wrap_angle
from kerasrl2.envs.core import TensorFlowEnvironment

GRAVITY = 9.8  # m / s^2
MASS_1, MASS_2 = 1.0, 1.0  # kg
LENGTH_1 = 1.0  # m
CENTRE_1, CENTRE_2 = 0.5, 0.5  # m, from the joint to the link's centre of mass
INERTIA_1, INERTIA_2 = 1.0, 1.0  # kg m^2
MAX_SPEED_1, MAX_SPEED_2 = 4 * math.pi, 9 * math.pi  # rad / s
TIME_STEP = 0.2  # s


class Acrobot(TensorFlowEnvironment):
    """Swing a two-link robot up by the torque at its middle joint.

    Sutton (1996), https://papers.nips.cc/paper/1109, with the equations of motion of
    Sutton and Barto's book (section 11.3 of the first edition), one Runge-Kutta step of
    fourth order per action. Reward -1 for each step, but 0 for the step that lifts the
    tip one link above the fixed joint, which terminates.

    Observation: `[N, 6]` float32, cosine and sine of both joint angles (0 hangs
    straight down), both angular velocities (rad/s). Action: `[N]`, 0, 1, 2 for a torque
    of -1, 0, 1 N m.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit.
        id: String, the name in messages and logs.
    """

    def __init__(self, num_envs=1, max_episode_steps=500, id="Acrobot-v1"):
        high = np.array([1, 1, 1, 1, MAX_SPEED_1, MAX_SPEED_2], np.float32)
        super().__init__(
            id, num_envs, spaces.Box(-high, high), spaces.Discrete(3), max_episode_steps
        )

    def initial(self, seed, n):
        return uniform(seed, [n, 4], -0.1, 0.1)

    def transition(self, physics, action):
        torque = tf.cast(action, tf.float32) - 1
        state = _runge_kutta(lambda s: _rates(*s, torque), tf.unstack(physics, axis=1))
        angle_1, angle_2, speed_1, speed_2 = state
        angle_1, angle_2 = wrap_angle(angle_1), wrap_angle(angle_2)
        speed_1 = tf.clip_by_value(speed_1, -MAX_SPEED_1, MAX_SPEED_1)
        speed_2 = tf.clip_by_value(speed_2, -MAX_SPEED_2, MAX_SPEED_2)
        terminated = -tf.cos(angle_1) - tf.cos(angle_1 + angle_2) > 1
        physics = tf.stack([angle_1, angle_2, speed_1, speed_2], axis=1)
        return physics, tf.where(terminated, 0.0, -1.0), terminated

    def observe(self, physics):
        angle_1, angle_2, speed_1, speed_2 = tf.unstack(physics, axis=1)
        parts = [tf.cos(angle_1), tf.sin(angle_1), tf.cos(angle_2), tf.sin(angle_2)]
        return tf.stack([*parts, speed_1, speed_2], axis=1)

    def picture(self, physics):
        first, second = physics.numpy()[0, :2]  # 0 hangs down
        middle = LENGTH_1 * math.sin(first), -LENGTH_1 * math.cos(first)
        tip = (
            middle[0] + LENGTH_1 * math.sin(first + second),
            middle[1] - LENGTH_1 * math.cos(first + second),
        )
        return joints([(0.0, 0.0), middle, tip], goal=LENGTH_1)


def _rates(angle_1, angle_2, speed_1, speed_2, torque):
    """Time derivatives of the four state variables, in the book's symbols."""
    cos, sin = tf.cos(angle_2), tf.sin(angle_2)
    lever = MASS_2 * LENGTH_1 * CENTRE_2
    inertia = MASS_2 * CENTRE_2**2 + INERTIA_2
    d_1 = (
        MASS_1 * CENTRE_1**2 + MASS_2 * LENGTH_1**2 + INERTIA_1 + inertia
    ) + 2 * lever * cos
    d_2 = inertia + lever * cos
    phi_2 = MASS_2 * CENTRE_2 * GRAVITY * tf.sin(angle_1 + angle_2)
    phi_1 = (
        -lever * speed_2 * (speed_2 + 2 * speed_1) * sin
        + (MASS_1 * CENTRE_1 + MASS_2 * LENGTH_1) * GRAVITY * tf.sin(angle_1)
        + phi_2
    )
    ratio = d_2 / d_1
    rate_2 = torque + ratio * phi_1 - lever * speed_1**2 * sin - phi_2
    rate_2 /= inertia - ratio * d_2
    return speed_1, speed_2, -(d_2 * rate_2 + phi_1) / d_1, rate_2


def _runge_kutta(rates, state):
    """`state` (a list of tensors) one `TIME_STEP` later, fourth order."""

    def advanced(slopes, time):
        return [s + time * slope for s, slope in zip(state, slopes, strict=True)]

    k_1 = rates(state)
    k_2 = rates(advanced(k_1, TIME_STEP / 2))
    k_3 = rates(advanced(k_2, TIME_STEP / 2))
    k_4 = rates(advanced(k_3, TIME_STEP))
    columns = zip(k_1, k_2, k_3, k_4, strict=True)
    return advanced([(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in columns], TIME_STEP)
