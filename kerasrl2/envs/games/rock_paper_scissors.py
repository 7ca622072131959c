"""Rock, paper, scissors: two players, and no best pure strategy."""

import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs.games.core import GameEnvironment


class RockPaperScissors(GameEnvironment):
    """Repeated rock-paper-scissors of two players, who see the other's last move.

    A move wins 1 from the other player, or 0 if both are the same: rewards of the two
    add up to 0. The only equilibrium draws all three with probability 1/3.

    Observation: `[4]` float32, one-hot: nothing yet, or the other's last move was rock,
    paper, scissors. Action: 0 rock, 1 paper, 2 scissors.

    Args:
        num_games: Integer >= 1, the number of copies `G`; there are `2 G` rows.
        max_episode_steps: Integer or None, moves of an episode.
        id: String, the name in messages and logs.

    Example:
    >>> env = RockPaperScissors(num_games=1)
    >>> state, observation = env.reset(tf.constant([0, 0]))
    >>> state, time_step = env.step(state, tf.constant([1, 0]), tf.constant([0, 1]))
    >>> time_step.reward.numpy().tolist()
    [1.0, -1.0]
    >>> time_step.observation.numpy().tolist()
    [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """

    def __init__(self, num_games=1, max_episode_steps=10, id="RockPaperScissors"):
        super().__init__(
            id, num_games, 2, spaces.Box(0.0, 1.0, [4]), spaces.Discrete(3),
            max_episode_steps,
        )  # fmt: skip

    def initial(self, seed, n):
        return tf.zeros([n, 2], tf.int32)

    def transition(self, physics, action):
        action = tf.cast(action, tf.int32)
        # 0 for equal moves, 1 for the move above the other's, 2 for the one below.
        above = tf.math.floormod(action - action[:, ::-1], 3)
        reward = tf.gather([0.0, 1.0, -1.0], above)
        return action + 1, reward, tf.zeros([action.shape[0]], tf.bool)

    def observe(self, physics):
        return tf.one_hot(physics[:, ::-1], 4)
