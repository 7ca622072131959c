"""`kerasrl2 plot`."""

import typer

from kerasrl2._checks import check_choice
from kerasrl2.cli.grouping import grouped
from kerasrl2.cli.paths import check_file
from kerasrl2.plotting import plot_learning_curves


def plot(runs, output, interval, **options):
    """Draws runs, a panel for each environment and a curve for each algorithm.

    Args:
        runs: List of paths.
        output: Path.
        interval: String, `"range"` or a number.
        **options: Of `plot_learning_curves`.
    """
    check_file("--output", output)
    if interval != "range":
        try:
            interval = float(interval)
        except ValueError:
            check_choice("--interval", interval, ("range", "0.95"))
    plot_learning_curves(grouped(runs), output, interval=interval, **options)
    typer.echo(f"wrote {output}")
