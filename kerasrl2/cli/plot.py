"""`kerasrl2 plot`."""

import typer

from kerasrl2.cli.runs import read_config
from kerasrl2.plotting import plot_learning_curves, read_metrics


def plot(runs, output):
    """Draws runs; those with the same algorithm and environment are one curve."""
    groups = {}
    for run in runs:
        config = read_config(run)
        label = f"{config['algorithm']} on {config['env']}"
        groups.setdefault(label, []).append(read_metrics(run))
    try:
        plot_learning_curves(groups, output)
    except ValueError as error:
        raise ValueError(f"Could not write {output}: {error}") from error
    typer.echo(f"wrote {output}")
