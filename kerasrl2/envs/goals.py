"""Environments with goals, whose rewards can be computed for any goal."""

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2._checks import check_positive_integer
from kerasrl2.envs._drawing import board
from kerasrl2.envs.core import TensorFlowEnvironment


class BitFlip(TensorFlowEnvironment):
    """`BitFlip-15`: flip bits, one a step, until they are those asked for.

    Section 3.1 of Andrychowicz et al. (2017), https://arxiv.org/abs/1707.01495. Every
    step pays -1, and 0 where the goal is reached, which ends the episode. Without the
    goals that were reached by chance there is nothing to learn from: a random policy
    needs some 2 ** `num_bits` steps.

    Observation: dictionary of `observation`, `achieved_goal` (both the bits) and
    `desired_goal`, `[N, num_bits]` float32. Action: `[N]`, the bit to flip.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        num_bits: Integer >= 1.
        max_episode_steps: Integer or None, the time limit; None: `num_bits`.
        id: String or None, the name in messages and logs.

    Example:
    >>> env = BitFlip(num_bits=3)
    >>> state, observation = env.reset(tf.constant([0, 1]))
    >>> bits, goal = (observation[k][0] for k in ("achieved_goal", "desired_goal"))
    >>> reward, ended = env.goal_reward(bits[None], goal[None])
    >>> float(reward[0]) == -float(np.any(bits != goal))
    True
    """

    def __init__(self, num_envs=1, num_bits=15, max_episode_steps=None, id=None):
        check_positive_integer("num_bits", num_bits)
        self.num_bits = int(num_bits)
        bits = spaces.Box(0.0, 1.0, [self.num_bits], np.float32)
        names = "achieved_goal", "desired_goal", "observation"
        super().__init__(
            id or f"BitFlip-{num_bits}",
            num_envs,
            spaces.Dict(dict.fromkeys(names, bits)),
            spaces.Discrete(self.num_bits),
            max_episode_steps or self.num_bits,
        )

    def initial(self, seed, n):
        both = tf.random.stateless_uniform(
            [2, n, self.num_bits], seed, 0, 2, tf.int32, alg="philox"
        )
        bits, goal = tf.unstack(tf.cast(both, tf.float32))
        # One bit at least differs: else the first step could only lead away.
        same = tf.reduce_all(bits == goal, axis=1, keepdims=True)
        first = tf.one_hot(tf.zeros([n], tf.int32), self.num_bits)
        return tf.where(same, tf.abs(bits - first), bits), goal

    def transition(self, physics, action):
        bits, goal = physics
        bits = tf.abs(bits - tf.one_hot(action, self.num_bits))
        return (bits, goal), *self.goal_reward(bits, goal)

    def observe(self, physics):
        bits, goal = physics
        return {"achieved_goal": bits, "desired_goal": goal, "observation": bits}

    def picture(self, physics):
        """The bits above, and those asked for below."""
        return board(tf.concat(physics, axis=0)[..., None])

    def goal_reward(self, achieved, desired):
        reached = tf.reduce_all(achieved == desired, axis=-1)
        return tf.cast(reached, tf.float32) - 1.0, reached
