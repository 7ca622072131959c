"""`kerasrl2 plot`."""

import typer

from kerasrl2.cli.configuration import read_config
from kerasrl2.cli.paths import check_file
from kerasrl2.cli.worlds import label
from kerasrl2.plotting import plot_learning_curves, read_metrics


def plot(runs, output):
    """Draws runs; those with the same algorithm and environment are one curve."""
    check_file("--output", output)
    groups = {}
    for run in runs:
        config = read_config(run)
        title = f"{config['algorithm']} on {label(config)}"
        groups.setdefault(title, []).append(read_metrics(run))
    plot_learning_curves(groups, output)
    typer.echo(f"wrote {output}")
