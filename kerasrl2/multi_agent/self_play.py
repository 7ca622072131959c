"""Self-play against a pool of frozen earlier selves, rated by Elo."""

from typing import Any, NamedTuple

import numpy as np

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.envs.games.core import check_game
from kerasrl2.multi_agent.checkpoints import SelfPlayCheckpoints
from kerasrl2.multi_agent.matches import Match, score_of
from kerasrl2.multi_agent.seats import Seat
from kerasrl2.ratings import expected_score, updated_ratings


class Frozen(NamedTuple):
    """A member of the pool.

    Attributes:
        round: Integer, after which round it was frozen; 0: before any.
        weights: List of arrays, all variables of the agent.
        rating: Float, its Elo rating.

    Example:
    >>> Frozen(round=0, weights=[], rating=1_000.0).rating
    1000.0
    """

    round: int
    weights: Any
    rating: float


class SelfPlay:
    """Trains an agent against frozen copies of itself.

    In each round one of the pool is drawn: the newest with probability
    `newest_probability`, else a random one, more probably if it is as strong as the
    agent: by `e (1 - e)` of its expected score `e`, as in Vinyals et al. (2019),
    https://doi.org/10.1038/s41586-019-1724-z. It plays all other seats while the
    agent trains; then a match of both changes their Elo ratings, and a copy of the
    agent joins the pool. Of a full pool the oldest leaves.

    Copying is assigning variables of one agent, `opponent`: nothing is compiled again.

    Args:
        agent: `Agent` to train.
        opponent: Another one of equal structure, made as the first was.
        env: `envs.games.GameEnvironment` in TensorFlow.
        pool_size: Integer >= 1.
        newest_probability: Float in [0, 1].
        k: Float > 0, the largest change of a rating by a match.
        episodes: Integer >= 1, of a match; the agent sits in seat 0 in half of them and
            in seat 1 in the others.
        seed: Integer, of draws and matches.

    Attributes:
        pool: List of `Frozen`, oldest first.
        rating: Float, the agent's own.
        history: Dictionary of lists with an entry per round: `opponent` (the round of
            its making), `score` in the match, `rating`, `opponent_rating`, `return` in
            training, `env_steps`.

    Example:
    >>> import kerasrl2 as krl
    >>> game = krl.envs.games.RockPaperScissors(num_games=8)
    >>> agent, opponent = (
    ...     krl.agents.A2C.for_env(game, hidden=(8,), seed=seed, xla=False)
    ...     for seed in range(2)
    ... )
    >>> history = SelfPlay(agent, opponent, game, episodes=16).fit(rounds=2, steps=80)
    >>> history["opponent"][0], history["env_steps"]
    (0, [80, 160])
    """

    def __init__(
        self, agent, opponent, env, pool_size=10, newest_probability=0.5, k=32.0,
        episodes=64, seed=0,
    ):  # fmt: skip
        check_game(env)
        check_positive_integer("pool_size", pool_size)
        check_positive_integer("episodes", episodes)
        check_range("newest_probability", newest_probability, 0.0, 1.0)
        check_range("k", k, 0.0, open_low=True)
        if env.num_players < 2:
            raise ValueError(
                f"Expected a game of at least two players. Received: {env.id} of one."
            )
        if not env.in_graph:
            raise ValueError(
                "Expected a game in TensorFlow, whose matches do not cut short the "
                f"episodes of training. Received: {env.id}"
            )
        if agent is opponent or not _alike(agent, opponent):
            raise ValueError(
                "Expected `opponent` as another agent with the same variables as "
                "`agent`, made as that was. Received: "
                + ("the agent itself." if agent is opponent else f"{opponent.name!r}.")
            )
        self.agent, self.opponent, self.env = agent, opponent, env
        self.pool_size, self.newest_probability = pool_size, newest_probability
        self.k, self.episodes, self.seed = k, episodes, seed
        self.seat = Seat(env, opponent)
        others = [opponent] * (env.num_players - 1)
        self._matches = (
            Match(env, [agent, *others]),
            Match(env, [opponent, agent, *others[1:]]),
        )
        self._rng = np.random.default_rng(seed)
        self.rating, self.rounds = 0.0, 0
        self.pool = [self._frozen()]
        self.history = {
            name: []
            for name in ("opponent", "score", "rating", "opponent_rating", "return",
                         "env_steps")
        }  # fmt: skip

    def fit(self, rounds, steps, checkpoint_dir=None, resume=False, **settings):
        """Trains for some rounds; another call goes on.

        Args:
            rounds: Integer >= 1. With `resume` the number in total.
            steps: Integer >= 1, env steps of a round.
            checkpoint_dir: String or path, where a checkpoint of the agent, the pool
                and the ratings is kept after each round.
            resume: Boolean, whether to go on from the newest checkpoint there, if there
                is one; bit for bit.
            **settings: Keywords of `Agent.fit`; `epochs` is 1 and `verbose` 0 by
                default.

        Returns:
            The attribute `history`.

        Raises:
            CheckpointError: A checkpoint could not be written, or is of another run.
        """
        check_positive_integer("rounds", rounds)
        if resume and checkpoint_dir is None:
            raise ValueError(
                "Expected `checkpoint_dir` with `resume`. Received: resume=True alone."
            )
        end, checkpoints = self.rounds + rounds, None
        if checkpoint_dir is not None:
            checkpoints = SelfPlayCheckpoints(checkpoint_dir)
            if checkpoints.restore_into(self, resume):
                end = rounds
        while self.rounds < end:
            self._play_round(steps, {"epochs": 1, "verbose": 0, **settings})
            if checkpoints is not None:
                checkpoints.write(self)
        if checkpoints is not None:
            checkpoints.wait()
        return self.history

    def _play_round(self, steps, settings):
        """Trains against one of the pool, plays the match, and freezes a copy."""
        index = self._drawn()
        self.face(self.pool[index])
        fitted = self.agent.fit(self.seat, steps, **settings).history
        self.rounds += 1
        score = self._score()
        other = self.pool[index]
        self.rating, changed = updated_ratings(self.rating, other.rating, score, self.k)
        self.pool[index] = other._replace(rating=changed)
        row = (other.round, score, self.rating, changed, fitted["return"][-1],
               int(self.agent.env_steps))  # fmt: skip
        for name, value in zip(self.history, row, strict=True):
            self.history[name].append(value)
        self.pool = [*self.pool, self._frozen()][-self.pool_size :]

    def variables(self):
        """Dictionary of names to variables: the agent's and those of its games."""
        return self.agent.loop_on(self.seat).variables_by_name()

    def state(self):
        """JSON-serializable dictionary of all that is no variable or weight."""
        return {
            "rounds": self.rounds,
            "rating": self.rating,
            "rng": self._rng.bit_generator.state,
            "history": self.history,
            "pool": [[frozen.round, frozen.rating] for frozen in self.pool],
        }

    def set_state(self, state, weights_of):
        """Restores a result of `state`.

        Args:
            state: Dictionary.
            weights_of: Callable from an index of the pool to the weights of its member.
        """
        self.rounds, self.rating = state["rounds"], state["rating"]
        self._rng.bit_generator.state = state["rng"]
        self.history = state["history"]
        self.pool = [
            Frozen(made, weights_of(i), rating)
            for i, (made, rating) in enumerate(state["pool"])
        ]

    def face(self, frozen):
        """Gives the opponent the weights of a `Frozen`."""
        for variable, value in zip(_shared(self.opponent), frozen.weights, strict=True):
            variable.assign(value)

    def _frozen(self):
        weights = [variable.numpy() for variable in _shared(self.agent)]
        return Frozen(self.rounds, weights, self.rating)

    def _drawn(self):
        """The index of the next opponent."""
        if self._rng.random() < self.newest_probability:
            return len(self.pool) - 1
        expected = [expected_score(self.rating, other.rating) for other in self.pool]
        weight = np.array([e * (1.0 - e) for e in expected])
        return int(self._rng.choice(len(self.pool), p=weight / weight.sum()))

    def _score(self):
        """The agent's mean score in a match, half of it in each seat."""
        number = self.seed + 1_000_003 * self.rounds
        half = -(-self.episodes // 2)
        return 0.5 * sum(
            score_of(match.play(half, number), seat)
            for seat, match in enumerate(self._matches)
        )


def _shared(agent):
    """List of the variables that a copy takes over."""
    return [
        variable
        for variable in agent.variables
        if variable is not agent.env_steps
        and not variable.path.endswith(("noise_state", "seed_generator_state"))
    ]


def _alike(agent, other):
    pairs = [[(v.shape, str(v.dtype)) for v in _shared(one)] for one in (agent, other)]
    return pairs[0] == pairs[1]
