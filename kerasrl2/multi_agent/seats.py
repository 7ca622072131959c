"""A game from the seat of one player, whose opponents are agents that stand still."""

import contextlib
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kerasrl2.agents.specs import check_spaces
from kerasrl2.envs.core import Environment
from kerasrl2.envs.games.core import check_game
from kerasrl2.layers.sequences import where_reset


class SeatState(NamedTuple):
    """State of a `Seat`.

    Attributes:
        env_state: The game's.
        observation: `[G * M, ...]` or a nest, what all players see.
        policy_states: Tuple, the states of the opponents' policies.
    """

    env_state: Any
    observation: Any
    policy_states: Any


class Seat(Environment):
    """`G` games as one player sees them; the others are played by given agents.

    The opponents' networks run in the same graph as the games, with the weights that
    they have then: who trains an opponent, or assigns its weights, changes the game
    without compiling anything. They are never trained here.

    Args:
        env: `envs.games.GameEnvironment` or `PettingZooEnvironment` of `M` players.
        opponents: An agent for all other seats, or a list of `M - 1` agents, the first
            in the seat after the player's, and so on around the table.
        seat: Integer, which player this is; None: `g % M` in game `g`, so that all
            seats are played where `G` is a multiple of `M`.
        greedy: Boolean, whether opponents play their policies' modes instead of
            samples.
        id: String or None, the name in messages; None takes that of the game.

    Attributes:
        num_envs: Integer, `G`.

    Example:
    >>> import kerasrl2 as krl
    >>> game = krl.envs.games.RockPaperScissors(num_games=8)
    >>> opponent = krl.agents.RandomAgent.for_env(game, seed=0)
    >>> seat = krl.multi_agent.Seat(game, opponent)
    >>> agent = krl.agents.A2C.for_env(seat, hidden=(8,), seed=0, xla=False)
    >>> history = agent.fit(seat, steps=80, epochs=1, verbose=0)
    >>> seat.num_envs, history.history["env_steps"]
    (8, [80])
    """

    def __init__(self, env, opponents, seat=None, greedy=False, id=None):
        check_game(env)
        games, players = env.num_games, env.num_players
        if seat is not None and seat not in range(players):
            raise ValueError(
                f"Expected `seat` from 0 to {players - 1}, or None for all in turn. "
                f"Received: {seat!r}"
            )
        super().__init__(
            id or f"{env.id}, one seat", games, env.observation_space, env.action_space
        )
        self.env, self.seat, self.greedy = env, seat, greedy
        several = isinstance(opponents, list | tuple)
        self.opponents = list(opponents) if several else [opponents]
        if several and len(opponents) != players - 1:
            raise ValueError(
                f"Expected {players - 1} opponents, or one agent for all other seats "
                f"of {env.id}. Received: {len(opponents)}"
            )
        for opponent in self.opponents:
            check_spaces(env, opponent.observation_spec, opponent.head)
        first = np.arange(games) % players if seat is None else np.full(games, seat)
        others = [(first + 1 + k) % players for k in range(players - 1)]
        rows = [np.arange(games) * players + seats for seats in (first, *others)]
        if not several:
            rows = [rows[0], np.concatenate(rows[1:])]
        self._rows = [row.astype(np.int32) for row in rows]
        # Where in the concatenation of all players' actions those of each row are.
        self._order = np.argsort(np.concatenate(rows)).astype(np.int32)

    @property
    def in_graph(self):
        return self.env.in_graph

    @property
    def compilable(self):
        return self.env.compilable

    @property
    def always_valid(self):
        return self.env.always_valid

    @property
    def max_episode_steps(self):
        """Integer, the game's time limit in steps, or None."""
        return getattr(self.env, "max_episode_steps", None)

    def reset(self, seed):
        env_state, observation = self.env.reset(seed)
        states = tuple(
            opponent.initial_state(len(rows))
            for opponent, rows in zip(self.opponents, self._rows[1:], strict=True)
        )
        return SeatState(env_state, observation, states), self._seen(observation, 0)

    def step(self, state, action, seed):
        actions, policy_states = [self._checked_action(action)], []
        for k, opponent in enumerate(self.opponents):
            of_opponent = tf.random.fold_in(seed, k + 2, alg="philox")
            chosen, policy_state = chosen_by(
                opponent, self._seen(state.observation, k + 1), state.policy_states[k],
                of_opponent, self.greedy,
            )  # fmt: skip
            actions.append(tf.cast(chosen, actions[0].dtype))
            policy_states.append(policy_state)
        joint = tf.gather(tf.concat(actions, axis=0), self._order)
        env_state, after = self.env.step(state.env_state, joint, seed)
        ended = after.terminated | after.truncated | ~after.valid
        policy_states = tuple(
            where_reset(
                tf.gather(ended, rows), opponent.initial_state(len(rows)), policy_state
            )
            for opponent, rows, policy_state in zip(
                self.opponents, self._rows[1:], policy_states, strict=True
            )
        )
        state = SeatState(env_state, after.observation, policy_states)
        return state, tf.nest.map_structure(
            lambda tensor: tf.gather(tensor, self._rows[0]), after
        )

    def _seen(self, observation, player):
        """What a player sees, of what all rows see."""
        return tf.nest.map_structure(
            lambda tensor: tf.gather(tensor, self._rows[player]), observation
        )

    # What concerns the copies is the game's to say.

    def in_programs(self):
        return self if self.in_graph else self.opponents

    def is_current(self, state):
        return self.env.is_current(state.env_state)

    def shares_copies_with(self, other):
        return self.env.shares_copies_with(getattr(other, "env", other))

    @contextlib.contextmanager
    def errors(self, afterwards=False):
        with self.env.errors(afterwards):
            yield

    def close(self):
        self.env.close()


def chosen_by(agent, observation, policy_state, seed, greedy):
    """`(actions, policy_state)` of an agent, in the environment's own coordinates.

    Args:
        agent: `Agent`.
        observation: `[B, ...]` or a nest.
        policy_state: Nest of `[B, ...]`; `()` without memory.
        seed: `[2]` int32.
        greedy: Boolean, whether to take the mode; not of agents without one.
    """
    greedy = greedy and not agent.acts_at_random
    noise = None if greedy else tf.random.fold_in(seed, 1, alg="philox")
    outputs = agent.forward(observation, policy_state, seed=noise)
    if greedy:
        action = agent.greedy(outputs)
    else:
        env_steps = tf.cast(tf.convert_to_tensor(agent.env_steps), tf.int64)
        action = agent.choose(outputs, seed, env_steps)
    return agent.head.to_env(action), outputs.policy_state
