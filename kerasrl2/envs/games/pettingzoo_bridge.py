"""Environments of PettingZoo, called from TensorFlow graphs."""

from kerasrl2._checks import check_positive_integer, did_you_mean
from kerasrl2.envs._python import PythonEnvironment
from kerasrl2.envs.games._parallel import ParallelWorld

_NEEDED = "possible_agents", "observation_space", "action_space", "reset", "step"


class PettingZooEnvironment(PythonEnvironment):
    """`G` games of PettingZoo as an environment of `G * M` rows, one for each player.

    Row `g * M + m` is player `m`, in the order of `possible_agents`, of game `g`: what
    an agent is trained on plays all seats with the same weights. All players must have
    equal spaces; else train one agent for each, with `PettingZooSeat`.

    Games in which players take turns (PettingZoo's AEC interface) are stepped by
    whoever's turn it is; the others' actions do nothing. Where there are masks, who
    waits has a single legal action. Rows of a player who has left a game that goes on
    are no transitions.

    Args:
        env: String, an id of PettingZoo such as `"classic/tictactoe-v3"`; a module with
            `parallel_env` or `env`; a callable that returns a new `ParallelEnv` or
            `AECEnv`; or one such environment.
        num_games: Integer >= 1, the number of games `G`.
        **kwargs: Passed to what makes the game.

    Attributes:
        num_games: Integer, `G`.
        num_players: Integer, `M`.
        players: Tuple of the players' names.

    Raises:
        ImportError: PettingZoo is not installed.
        ValueError: There is no such game, or its players have different spaces.
    """

    def __init__(self, env, num_games=1, **kwargs):
        check_positive_integer("num_games", num_games)
        made = is_game(env)
        if made and (num_games > 1 or kwargs):
            raise ValueError(
                "Expected an id or a callable, to make several games or with "
                f"keywords. Received: one environment, {env}, with "
                f"num_games={num_games}, {kwargs}"
            )
        games = [env if made else make_game(env, **kwargs) for _ in range(num_games)]
        games = [parallel(game) for game in games]
        self.num_games, self.players = num_games, tuple(games[0].possible_agents)
        self.num_players = len(self.players)
        _check_equal_spaces(games[0])
        id = name_of(games[0])
        super().__init__(id, ParallelWorld(id, games))

    @property
    def games(self):
        """Tuple of the `ParallelEnv`s, for inspection or rendering."""
        return self._world.games


def make_game(env, **kwargs):
    """A new game of PettingZoo, from its id, a module or a callable."""
    if isinstance(env, str):
        return _registered(env, kwargs)
    make = next(
        (
            getattr(env, name)
            for name in ("parallel_env", "env")
            if callable(getattr(env, name, None))
        ),
        env,
    )
    if not callable(make):
        raise ValueError(
            "Expected an id of PettingZoo, a module of a game, a callable that returns "
            f"a game, or a game. Received: {env!r:.100}"
        )
    made = make(**kwargs)
    if not is_game(made):
        raise ValueError(
            f"Expected {env!r:.100} to return a `pettingzoo.ParallelEnv` or `AECEnv`. "
            f"Received: {made!r:.100}, of {type(made).__name__}"
        )
    return made


def _registered(id, kwargs):
    """A game by PettingZoo's id."""
    try:
        import pettingzoo
    except ImportError as error:
        raise ImportError(
            f'{id} needs a missing package: pip install "kerasrl2[pettingzoo]"'
        ) from error
    known = [*pettingzoo.parallel_registry, *pettingzoo.aec_registry]
    if id not in known:
        raise ValueError(
            f"Expected an id of PettingZoo; `pettingzoo.pprint_registry()` lists them. "
            f"Received: {id!r}{did_you_mean(id, known)}"
        )
    kind = "parallel" if id in pettingzoo.parallel_registry else "aec"
    return pettingzoo.make(kind, id, **kwargs)


def is_game(env):
    """Whether an object has PettingZoo's interface."""
    return not isinstance(env, type) and all(hasattr(env, name) for name in _NEEDED)


def parallel(game):
    """A `ParallelEnv`, of one, or of an `AECEnv`."""
    if not hasattr(game, "agent_iter"):
        return game
    from pettingzoo.utils import conversions

    if (game.metadata or {}).get("is_parallelizable"):
        return conversions.aec_to_parallel(game)
    return conversions.turn_based_aec_to_parallel(game)


def name_of(game):
    """The name in messages: PettingZoo's own, or that of the class."""
    known = (getattr(game, "metadata", None) or {}).get("name")
    return str(known or type(getattr(game, "unwrapped", game)).__name__)


def _check_equal_spaces(game):
    first, *others = game.possible_agents
    for role in ("observation_space", "action_space"):
        spaces = {name: getattr(game, role)(name) for name in (first, *others)}
        for name in others:
            if spaces[name] != spaces[first]:
                raise ValueError(
                    f"Expected players with equal spaces, whom one agent can play. "
                    f"Received: `{role}` of {first!r} in {name_of(game)} is "
                    f"{spaces[first]}, of {name!r} {spaces[name]}. Train an agent for "
                    "each, with `envs.games.PettingZooSeat`."
                )
