"""Environments whose observations are nests, and say which actions are legal."""

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs import TensorFlowEnvironment

STEPS = 8


class Riddle(TensorFlowEnvironment):
    """Reward 1 for the action `flag xor (place - 1)`; 8 steps, each with new ones.

    Observations are `{"flags": MultiBinary(2), "place": (Discrete(2, start=1),
    Box(2))}`; the flag is the first of the two, the box is the place again. With
    `tuples` they are `(flags, place, box)`.
    """

    def __init__(self, num_envs=1, tuples=False):
        self.tuples = tuples
        parts = spaces.MultiBinary(2), spaces.Discrete(2, start=1)
        box = spaces.Box(0.0, 10.0, [2], np.float32)
        space = (
            spaces.Tuple([*parts, box])
            if tuples
            else spaces.Dict(
                {"flags": parts[0], "place": spaces.Tuple([parts[1], box])}
            )
        )
        super().__init__("Riddle", num_envs, space, spaces.Discrete(2), STEPS)

    def initial(self, seed, n):
        return tf.random.stateless_uniform([n, 2], seed, 0, 2, tf.int32, alg="philox")

    def apply_chance(self, physics, action, seed):
        following = self.initial(seed, physics.shape[0])
        return tf.concat([physics, following], axis=1), action

    def transition(self, physics, action):
        wanted = tf.math.floormod(physics[:, 0] + physics[:, 1], 2)
        reward = tf.cast(tf.equal(action, wanted), tf.float32)
        return physics[:, 2:], reward, tf.zeros_like(reward, tf.bool)

    def observe(self, physics):
        flags = tf.cast(tf.stack([physics[:, 0], physics[:, 1] * 0], axis=1), tf.int8)
        place = physics[:, 1] + 1
        box = tf.cast(tf.stack([place, place], axis=1), tf.float32)
        if self.tuples:
            return flags, place, box
        return {"flags": flags, "place": (place, box)}


class Minefield(TensorFlowEnvironment):
    """Two of four actions are mines, new ones each step: NaN, which ends training.

    Reward 1 for the smaller of the two legal actions; 8 steps. Observations are
    `{"observation": Box(2), "action_mask": MultiBinary(4)}`; the box says nothing of
    the mines but for the number of the legal action with the reward.
    """

    def __init__(self, num_envs=1):
        space = spaces.Dict(
            {
                "observation": spaces.Box(0.0, 4.0, [2], np.float32),
                "action_mask": spaces.MultiBinary(4),
            }
        )
        super().__init__("Minefield", num_envs, space, spaces.Discrete(4), STEPS)

    def initial(self, seed, n):
        """`[n, 2]`: two different actions, the smaller one first."""
        pairs = tf.constant([[a, b] for a in range(4) for b in range(a + 1, 4)])
        drawn = tf.random.stateless_uniform([n], seed, 0, 6, tf.int32, alg="philox")
        return tf.gather(pairs, drawn)

    def apply_chance(self, physics, action, seed):
        following = self.initial(seed, physics.shape[0])
        return tf.concat([physics, following], axis=1), action

    def transition(self, physics, action):
        best = tf.equal(action, physics[:, 0])
        legal = best | tf.equal(action, physics[:, 1])
        reward = tf.where(legal, tf.cast(best, tf.float32), np.nan)
        return physics[:, 2:], reward, tf.zeros_like(legal)

    def observe(self, physics):
        mask = tf.reduce_max(tf.one_hot(physics, 4, dtype=tf.int8), axis=1)
        number = tf.cast(physics[:, :1], tf.float32)
        return {
            "observation": tf.concat([number, number], axis=1),
            "action_mask": mask,
        }
