"""The base class of games in TensorFlow: several players in one environment."""

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2.envs.core import Environment, EpisodeState
from kerasrl2.types import TimeStep


class GameEnvironment(Environment):
    """`G` copies of a game with `M` players each, as an environment of `G * M` rows.

    Row `g * M + m` is what player `m` of game `g` sees, does and gets. So an agent that
    is trained on it plays all seats with the same weights ("parameter sharing"), and
    nothing in agents, loops or buffers knows of games. `kerasrl2.multi_agent` gives the
    seats to different agents.

    All players move at once and have equal spaces, and an episode ends for all of them
    in the same step. Where players take turns, the others have a single legal action
    meanwhile (an entry `action_mask` in observations), which does nothing.

    A subclass defines `initial`, `transition` and `observe`, and `apply_chance` if more
    than the first states is random. This class counts steps, truncates episodes at the
    time limit and starts new ones.

    Args:
        id: String, the name in messages and logs.
        num_games: Integer >= 1, the number of copies `G`.
        num_players: Integer >= 1, `M`.
        observation_space: `gymnasium.Space` of one player.
        action_space: `gymnasium.Space` of one player.
        max_episode_steps: Integer >= 1 or None, the time limit in steps.

    Attributes:
        num_envs: Integer, `G * M` rows.
    """

    in_graph = compilable = always_valid = True

    def __init__(
        self, id, num_games, num_players, observation_space, action_space,
        max_episode_steps=None,
    ):  # fmt: skip
        check_positive_integer("num_games", num_games)
        check_positive_integer("num_players", num_players)
        if max_episode_steps is not None:
            check_positive_integer("max_episode_steps", max_episode_steps)
        rows = num_games * num_players
        super().__init__(id, rows, observation_space, action_space)
        self.num_games, self.num_players = int(num_games), int(num_players)
        self.max_episode_steps = max_episode_steps

    def initial(self, seed, n):
        """First states of `n` games.

        Args:
            seed: `[2]` int32.
            n: Integer, the number of games.

        Returns:
            Nest of `[n, ...]` tensors.
        """
        raise NotImplementedError

    def apply_chance(self, physics, action, seed):
        """Randomises states and actions before `transition`; by default nothing.

        Args:
            physics: Nest of `[G, ...]` tensors.
            action: `[G, M, ...]`, one of each player.
            seed: `[2]` int32, new at each step and different from that of `initial`.

        Returns:
            `(physics, action)`.
        """
        del seed
        return physics, action

    def transition(self, physics, action):
        """One step of the games, without time limit and reset.

        Args:
            physics: Nest of `[G, ...]` tensors.
            action: `[G, M, ...]`, one of each player.

        Returns:
            `(physics, reward, terminated)`: `[G, M]` float32, and `[G]` bool.
        """
        raise NotImplementedError

    def observe(self, physics):
        """What the players see: `[G, M, ...]`, or a nest of these like their space."""
        raise NotImplementedError

    def reset(self, seed):
        physics = self.initial(seed, self.num_games)
        elapsed = tf.zeros([self.num_games], tf.int32)
        return EpisodeState(physics, elapsed), self._rows(self.observe(physics))

    def step(self, state, action, seed):
        action = self._checked_action(action)
        shape = [self.num_games, self.num_players, *action.shape[1:]]
        chance = tf.random.fold_in(seed, 1, alg="philox")
        physics, action = self.apply_chance(
            state.physics, tf.reshape(action, shape), chance
        )
        physics, reward, terminated = self.transition(physics, action)
        elapsed = state.elapsed + 1
        truncated = tf.zeros_like(terminated)
        if self.max_episode_steps is not None:
            truncated = elapsed >= self.max_episode_steps
        ended = terminated | truncated
        first = self.initial(seed, self.num_games)

        def current(new, old):
            align = tf.reshape(ended, [-1, *[1] * (len(new.shape) - 1)])
            return tf.where(align, new, old)

        following = tf.nest.map_structure(current, first, physics)
        time_step = TimeStep(
            observation=self._rows(self.observe(following)),
            next_observation=self._rows(self.observe(physics)),
            reward=self._rows(reward),
            terminated=tf.repeat(terminated, self.num_players),
            truncated=tf.repeat(truncated, self.num_players),
            valid=tf.ones([self.num_envs], tf.bool),
        )
        return EpisodeState(following, tf.where(ended, 0, elapsed)), time_step

    def _rows(self, nest):
        """`[G, M, ...]` tensors as `[G * M, ...]`."""
        return tf.nest.map_structure(
            lambda x: tf.reshape(x, [self.num_envs, *x.shape[2:]]), nest
        )


def check_game(env):
    """Raises `ValueError` unless an environment is one of several players.

    Args:
        env: `Environment` whose `num_envs` rows are those of `num_games` games of
            `num_players` players each, in this order.
    """
    games, players = (getattr(env, n, None) for n in ("num_games", "num_players"))
    if not isinstance(env, Environment) or games is None or players is None:
        raise ValueError(
            "Expected an environment of several players, such as "
            "`envs.games.RockPaperScissors` or `envs.games.PettingZooEnvironment`. "
            f"Received: {getattr(env, 'id', env)!r:.100}"
        )
    if int(np.prod([games, players])) != env.num_envs:
        raise ValueError(
            f"Expected {env.id} to have num_games * num_players rows. Received: "
            f"{games} * {players}, and {env.num_envs} rows."
        )
