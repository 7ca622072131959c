"""`kerasrl2 check`."""

import typer

from kerasrl2 import envs
from kerasrl2.cli.environments import named
from kerasrl2.cli.failures import EXIT_FAILURE


def check(env, steps, seed):
    """Prints the faults of an environment; exits with 1 if one stops training.

    Args:
        env: String, an id; or `"module:name"` of a callable that returns a new
            `gymnasium.Env`, in a module that can be imported from here.
        steps: Integer >= 1, steps of random play.
        seed: Integer.
    """
    findings = envs.check(named(env), steps=steps, seed=seed)
    for finding in findings:
        place = f" ({finding.where})" if finding.where else ""
        typer.echo(f"{finding.severity}{place}: {finding.what}")
        typer.echo(f"  -> {finding.remedy}")
    severities = {finding.severity for finding in findings}
    if not severities & {"error", "warning"}:
        typer.echo(f"no faults found in {env}, {steps} steps")
    if "error" in severities:
        raise typer.Exit(EXIT_FAILURE)
