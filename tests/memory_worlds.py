"""Worlds whose optimum needs a memory."""

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs import TensorFlowEnvironment
from kerasrl2.envs._random import uniform


class Recall(TensorFlowEnvironment):
    """Shows a sign in the first step; the last action must name it.

    Observes (sign or 0, how far the episode is). Nothing is paid but at the end: 1 for
    the right action. Without a memory half of that is the most.

    Args:
        num_envs: Integer.
        delay: Integer >= 1, steps after the one that shows the sign.
        alternating: Boolean, whether the signs are those of even and odd copies instead
            of random ones.
    """

    def __init__(self, num_envs=1, delay=5, alternating=False):
        self.delay, self.alternating = delay, alternating
        box = spaces.Box(-1.0, 1.0, [2], np.float32)
        super().__init__("Recall", num_envs, box, spaces.Discrete(2), delay + 1)

    def initial(self, seed, n):
        draw = uniform(seed, [n], -1.0, 1.0)
        if self.alternating:
            draw = tf.cast(tf.range(n) % 2, tf.float32) - 0.5
        return tf.stack([tf.sign(draw), tf.zeros([n])], axis=1)

    def transition(self, physics, action):
        sign, time = tf.unstack(physics, axis=1)
        last = time >= self.delay
        right = tf.equal(tf.cast(action, tf.float32), 0.5 * (sign + 1.0))
        reward = tf.where(last & right, 1.0, 0.0)
        return tf.stack([sign, time + 1.0], axis=1), reward, last

    def observe(self, physics):
        sign, time = tf.unstack(physics, axis=1)
        sign = tf.where(time > 0.0, 0.0, sign)
        return tf.stack([sign, time / (self.delay + 1.0)], axis=1)
