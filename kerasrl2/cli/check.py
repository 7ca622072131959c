"""`kerasrl2 check`."""

import typer

from kerasrl2 import envs
from kerasrl2.cli.configuration import read_config
from kerasrl2.cli.environments import named, options_of
from kerasrl2.cli.failures import EXIT_FAILURE
from kerasrl2.cli.runs import holds_run
from kerasrl2.cli.worlds import changed_world, label, of_one


def check(env, steps, seed, keywords=None, wrappers=None):
    """Prints the faults of an environment; exits with 1 if one stops training.

    Args:
        env: String, an id; or `"module:name"` of a callable that returns a new
            `gymnasium.Env`, in a module that can be imported from here; or the path of
            a run directory, for the environment of the run.
        steps: Integer >= 1, steps of random play.
        seed: Integer.
        keywords: List of strings or None, `"name=value"` for its constructor.
        wrappers: List of strings or None, instead of those of a run.
    """
    run = env if holds_run(env) else None
    config = {"env": env} if run is None else read_config(run)
    world = of_one(changed_world(env, config, keywords, wrappers, keywords_only=True))
    found = named(world["env"], without=run)
    options = options_of(world, without=run)
    findings = envs.check(found, steps=steps, seed=seed, **options)
    for finding in findings:
        place = f" ({finding.where})" if finding.where else ""
        typer.echo(f"{finding.severity}{place}: {finding.what}")
        typer.echo(f"  -> {finding.remedy}")
    severities = {finding.severity for finding in findings}
    if not severities & {"error", "warning"}:
        typer.echo(f"no faults found in {label(world)}, {steps} steps")
    if "error" in severities:
        raise typer.Exit(EXIT_FAILURE)
