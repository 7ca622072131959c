"""`kerasrl2 list`."""

import typer

from kerasrl2 import _algorithms, zoo
from kerasrl2._checks import check_choice, did_you_mean
from kerasrl2.cli.meanings import meanings
from kerasrl2.cli.printing import say
from kerasrl2.cli.values import settable

_INDENT = "    "


def show(what, algorithm, env=None):
    """Prints algorithms, environments, or the settings of one algorithm.

    Args:
        what: `"algorithms"`, `"environments"` or `"settings"`.
        algorithm: String or None, with `"settings"`.
        env: String or None, an id with tuned settings, for these alone.
    """
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
        _settings(algorithm, env)


def _origin(algorithm):
    """Where an algorithm comes from, without importing it."""
    if algorithm not in _algorithms.built_in():
        places = _algorithms.places()
        if algorithm not in places:
            return "of several packages: uninstall all but one"
        return f"of {places[algorithm].owner}"
    return f"tuned for {', '.join(zoo.environments(algorithm)) or 'nothing yet'}"


def _settings(algorithm, env):
    if algorithm is None:
        raise ValueError("Expected an algorithm: `kerasrl2 list settings ppo`.")
    _algorithms.check_name(algorithm)
    tuned_for = zoo.environments(algorithm)
    if env is not None and env not in tuned_for:
        raise ValueError(
            f"Expected an environment that {algorithm} has tuned settings for: "
            f"{', '.join(tuned_for) or 'none'}. Received: {env}"
            f"{did_you_mean(env, tuned_for) or '.'} In others it trains with the "
            f"defaults, which `kerasrl2 list settings {algorithm}` shows."
        )
    from kerasrl2 import agents

    agent_class = agents.algorithm(algorithm)
    tuned = {} if env is None else zoo.settings(algorithm, env)
    if tuned:
        typer.echo(f"tuned for {env}: steps = {tuned.pop('steps', 'by default')}")
    explained = meanings(agent_class)
    for name, default in settable(agent_class).items():
        more = f", {env}: {tuned.pop(name)!r}" if name in tuned else ""
        say(f"{name} = {default!r}{more}", indent=_INDENT)
        if name in explained:
            say(_INDENT + explained[name], indent=_INDENT)
    for name, value in tuned.items():  # of an environment that is made for them
        say(f"{name} = {value!r}", indent=_INDENT)
    for other in tuned_for if env is None else ():
        typer.echo(f"\n{other}")
        for name, value in zoo.settings(algorithm, other).items():
            typer.echo(f"  {name} = {value!r}")
