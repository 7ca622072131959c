"""`kerasrl2 list`."""

import typer

from kerasrl2 import _algorithms, zoo
from kerasrl2._checks import check_choice
from kerasrl2.cli.values import settable


def show(what, algorithm):
    """Prints algorithms, environments, or the settings of one algorithm."""
    check_choice("what", what, ["algorithms", "environments", "settings"])
    if algorithm is not None and what != "settings":
        raise ValueError(
            f"Expected an algorithm only after `settings`. Received: {what} {algorithm}"
        )
    if what == "algorithms":
        for name in zoo.algorithms():
            typer.echo(f"{name}  ({_origin(name)})")
    elif what == "environments":
        from kerasrl2 import envs

        typer.echo("in TensorFlow: " + ", ".join(envs.ids()))
        typer.echo("any Gymnasium id, for instance LunarLander-v3 or package:Env-v0")
    else:
        _settings(algorithm)


def _origin(algorithm):
    """Where an algorithm comes from, without importing it."""
    if algorithm not in _algorithms.built_in():
        places = _algorithms.places()
        if algorithm not in places:
            return "of several packages: uninstall all but one"
        return f"of {places[algorithm].owner}"
    return f"tuned for {', '.join(zoo.environments(algorithm)) or 'nothing yet'}"


def _settings(algorithm):
    if algorithm is None:
        raise ValueError("Expected an algorithm: `kerasrl2 list settings ppo`.")
    _algorithms.check_name(algorithm)
    from kerasrl2 import agents

    agent_class = agents.algorithm(algorithm)
    for name, default in settable(agent_class).items():
        typer.echo(f"{name} = {default!r}")
    for env_id in zoo.environments(algorithm):
        typer.echo(f"\n{env_id}")
        for name, value in zoo.settings(algorithm, env_id).items():
            typer.echo(f"  {name} = {value!r}")
