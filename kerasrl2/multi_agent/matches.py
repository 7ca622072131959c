"""Matches: whole episodes of a game, with an agent in each seat."""

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._state import state_of
from kerasrl2.agents.specs import check_spaces
from kerasrl2.envs.games.core import check_game
from kerasrl2.multi_agent.seats import chosen_by
from kerasrl2.training.evaluate import MAX_EPISODE_STEPS
from kerasrl2.training.programs import Program


class Match(tf.Module):
    """Agents at one table; plays whole episodes without learning.

    Compiled once, for whatever weights the agents have then.

    Args:
        env: `envs.games.GameEnvironment` or `PettingZooEnvironment` of `M` players, not
            the one of training if it is in Python.
        agents: List of `M` agents, one in each seat; one may sit in several.
        greedy: Boolean, whether they play their policies' modes instead of samples.

    Example:
    >>> import kerasrl2 as krl
    >>> game = krl.envs.games.RockPaperScissors(num_games=16)
    >>> agent = krl.agents.RandomAgent.for_env(game, seed=0)
    >>> returns = Match(game, [agent, agent]).play(episodes=20)
    >>> returns.shape, float(abs(returns.sum(axis=1)).max())
    ((20, 2), 0.0)
    """

    def __init__(self, env, agents, greedy=False):
        super().__init__(name="match")
        check_game(env)
        self.env, self.agents, self.greedy = env, list(agents), greedy
        if len(self.agents) != env.num_players:
            raise ValueError(
                f"Expected {env.num_players} agents, one in each seat of {env.id}. "
                f"Received: {len(self.agents)}"
            )
        for agent in self.agents:
            check_spaces(env, agent.observation_spec, agent.head)
        self._players = []  # pairs of an agent and its rows
        for agent in dict.fromkeys(map(id, self.agents)):
            seats = [m for m, other in enumerate(self.agents) if id(other) == agent]
            rows = np.arange(env.num_envs).reshape(-1, env.num_players)[:, seats]
            self._players.append((self.agents[seats[0]], rows.ravel()))
        rows = np.concatenate([rows for _, rows in self._players])
        self._order = np.argsort(rows).astype(np.int32)
        self._programs = {}

    def play(self, episodes, seed=0):
        """Plays the first episode of each of so many games.

        Args:
            episodes: Integer.
            seed: Integer, of games and actions.

        Returns:
            `[episodes, M]` float32 array, the undiscounted returns of the players.

        Raises:
            ValueError: An episode is longer than 100 000 steps.
            EnvironmentFailure: The environment raised.
        """
        check_positive_integer("episodes", episodes)
        env, returns = self.env, []
        for batch in range(-(-episodes // env.num_games)):
            seeds = tf.constant([seed % 2**31, batch], tf.int32)
            with env.errors():
                state, observation = env.reset(seeds)
                total, over = self._program(state, observation, seeds)(
                    state, observation, seeds
                )
            if not bool(tf.reduce_all(over)):
                raise ValueError(
                    f"Expected episodes of at most {MAX_EPISODE_STEPS:,} steps. "
                    f"Received: a longer one of {env.id}. Give it a time limit."
                )
            returns.append(total.numpy())
        return np.concatenate(returns)[:episodes]

    def _program(self, *example):
        """The compiled function; shared by matches of agents of equal structure."""
        env = self.env
        state = state_of(agents=self.agents, env=env.in_programs())
        key = state.structure, *map(id, state.variables.values())
        if key not in self._programs:
            shared = ("match", self.greedy) if env.in_graph else None
            function = tf.function(self._play, autograph=False)
            self._programs = {key: Program(function, example, state, shared)}
        return self._programs[key]

    def _play(self, state, observation, seed):
        """`(returns, over)` of the first episodes: `[G, M]` and `[G]`."""
        env = self.env
        memories = [agent.initial_state(len(rows)) for agent, rows in self._players]

        def step(t, state, observation, memories, total, over):
            of_step = tf.random.fold_in(seed, t, alg="philox")
            actions, after_memories = [], []
            for k, (agent, rows) in enumerate(self._players):
                seen = tf.nest.map_structure(
                    lambda x, rows=rows: tf.gather(x, rows), observation
                )
                of_player = tf.random.fold_in(of_step, k + 2, alg="philox")
                action, memory = chosen_by(
                    agent, seen, memories[k], of_player, self.greedy
                )
                actions.append(action)
                after_memories.append(memory)
            joint = tf.gather(tf.concat(actions, axis=0), self._order)
            state, after = env.step(state, joint, of_step)
            # Players may leave before the others; the game is over with the last.
            shape = [env.num_games, env.num_players]
            reward = tf.where(after.valid, after.reward, 0.0)
            reward = tf.reshape(reward, shape)
            total += tf.where(over, 0.0, reward)
            ended = tf.reshape(after.terminated | after.truncated, shape)
            return t + 1, state, after.observation, after_memories, total, over | ended

        shape = [env.num_games, env.num_players]
        *_, total, over = tf.while_loop(
            lambda t, *rest: (t < MAX_EPISODE_STEPS) & ~tf.reduce_all(rest[-1]),
            step,
            (
                0,
                state,
                observation,
                memories,
                tf.zeros(shape),
                tf.zeros(shape, tf.bool),
            ),
            parallel_iterations=1,
        )
        return total, over


def score_of(returns, seat=0):
    """Mean score of one seat: 1 where its return is the highest, 0.5 where it shares.

    Of two players it is what Elo ratings are updated with.

    Args:
        returns: `[episodes, M]`, from `Match.play`.
        seat: Integer.

    Returns:
        Float in [0, 1].

    Example:
    >>> score_of(np.array([[1.0, -1.0], [0.0, 0.0], [-2.0, 2.0], [3.0, -3.0]]))
    0.625
    """
    own, others = returns[:, seat], np.delete(returns, seat, axis=1).max(axis=1)
    return float(np.mean(0.5 + 0.5 * np.sign(own - others)))
