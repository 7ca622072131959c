"""Environments with values known in closed form, for testing algorithms."""

import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs._drawing import board
from kerasrl2.envs.core import TensorFlowEnvironment

NUM_STATES = 5


class Chain(TensorFlowEnvironment):
    """`Chain-5`: walk along five states; entering the last pays 1 and terminates.

    With `gamma = 0.9` the optimal action values of states 0 to 3 are 0.729, 0.81, 0.9,
    1.0 for right and 0.6561, 0.6561, 0.729, 0.81 for left (at state 0, left stays).

    Observation: `[N, 5]` float32, the state one-hot. Action: `[N]`, 0 left, 1 right.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit.
        id: String, the name in messages and logs.
        uniform_start: Boolean, whether episodes start in any of states 0 to 3 instead
            of in state 0.

    Example:
    >>> env = Chain()
    >>> state, _ = env.reset(tf.constant([0, 0]))
    >>> for _ in range(4):
    ...     state, time_step = env.step(state, tf.constant([1]), tf.constant([0, 0]))
    >>> float(time_step.reward[0]), bool(time_step.terminated[0])
    (1.0, True)
    >>> time_step.next_observation[0].numpy().tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0]
    """

    def __init__(
        self, num_envs=1, max_episode_steps=50, id="Chain-5", uniform_start=False
    ):
        self.uniform_start = uniform_start
        observation_space = spaces.Box(0.0, 1.0, [NUM_STATES])
        super().__init__(
            id, num_envs, observation_space, spaces.Discrete(2), max_episode_steps
        )

    def initial(self, seed, n):
        if not self.uniform_start:
            return tf.zeros([n], tf.int32)
        return tf.random.stateless_uniform(
            [n], seed, 0, NUM_STATES - 1, tf.int32, alg="philox"
        )

    def transition(self, physics, action):
        physics = tf.maximum(physics + tf.where(action == 1, 1, -1), 0)
        terminated = physics >= NUM_STATES - 1
        return physics, tf.cast(terminated, tf.float32), terminated

    def observe(self, physics):
        return tf.one_hot(physics, NUM_STATES)

    def picture(self, physics):
        return board(self.observe(physics)[..., None])  # one row of cells


class Endless(TensorFlowEnvironment):
    """`Endless-1`: reward 1 at each step, truncated after 10 steps, never terminated.

    With `gamma = 0.9` the value is 10. An algorithm that treats truncation as
    termination finds less; with one-step targets it finds 5.263.

    Observation: `[N, 1]` float32, always 1. Action: `[N]` in {0, 1}, or `[N, 1]` float
    in [-1, 1]; it has no effect.

    Args:
        num_envs: Integer >= 1, the number of copies `N`.
        max_episode_steps: Integer or None, the time limit.
        id: String, the name in messages and logs.
        continuous: Boolean, whether actions are continuous.
    """

    def __init__(
        self, num_envs=1, max_episode_steps=10, id="Endless-1", continuous=False
    ):
        action_space = spaces.Box(-1.0, 1.0, [1]) if continuous else spaces.Discrete(2)
        observation_space = spaces.Box(0.0, 1.0, [1])
        super().__init__(
            id, num_envs, observation_space, action_space, max_episode_steps
        )

    def initial(self, seed, n):
        return tf.ones([n, 1])

    def transition(self, physics, action):
        n = physics.shape[0]
        return physics, tf.ones([n]), tf.zeros([n], tf.bool)

    def observe(self, physics):
        return physics
