"""One agent in each seat, trained in turns."""

from kerasrl2._checks import check_positive_integer
from kerasrl2.envs.games.core import check_game
from kerasrl2.multi_agent.seats import Seat


def train_in_turns(agents, env, rounds, steps, **settings):
    """Trains an agent in each seat, one after another, against the others as they are.

    In a round each of the `M` agents trains for `steps` env steps in its own seat,
    while the others stand still and play samples of their policies: each learns in an
    environment that does not move, and every step of a game teaches one agent.

    Args:
        agents: List of `M` different agents, which may be of different algorithms.
        env: `envs.games.GameEnvironment` of `M` players.
        rounds: Integer >= 1.
        steps: Integer >= 1, env steps of each agent and round.
        **settings: Keywords of `Agent.fit`; `epochs` is 1 and `verbose` 0 by default.

    Returns:
        Dictionary of lists with an entry per round: `return`, a list of the mean
        returns of the `M` agents while they trained, and `env_steps`, of all agents.

    Example:
    >>> import kerasrl2 as krl
    >>> game = krl.envs.games.RockPaperScissors(num_games=4)
    >>> agents = [
    ...     krl.agents.A2C.for_env(game, hidden=(8,), seed=seed, xla=False)
    ...     for seed in range(2)
    ... ]
    >>> history = train_in_turns(agents, game, rounds=2, steps=80)
    >>> history["env_steps"]
    [160, 320]
    """
    check_game(env)
    check_positive_integer("rounds", rounds)
    if len(agents) != env.num_players or len({*map(id, agents)}) != len(agents):
        raise ValueError(
            f"Expected {env.num_players} different agents, one for each seat of "
            f"{env.id}. Received: {len({*map(id, agents)})} different ones of "
            f"{len(agents)}. `agent.fit(env, ...)` trains one agent in all seats."
        )
    settings = {"epochs": 1, "verbose": 0, **settings}
    seats = [
        Seat(env, [*agents[m + 1 :], *agents[:m]], seat=m, id=f"{env.id}, seat {m}")
        for m in range(len(agents))
    ]
    history = {"return": [], "env_steps": []}
    for _ in range(rounds):
        pairs = zip(agents, seats, strict=True)
        returns = [a.fit(s, steps, **settings).history["return"][-1] for a, s in pairs]
        history["return"].append(returns)
        history["env_steps"].append(sum(int(agent.env_steps) for agent in agents))
    return history
