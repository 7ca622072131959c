"""`kerasrl2 report`: scores of runs with intervals, as a table."""

import math

import typer

from kerasrl2._checks import check_choice
from kerasrl2.cli.grouping import grouped
from kerasrl2.cli.paths import check_file
from kerasrl2.plotting import (
    plot_performance_profiles,
    probability_of_improvement,
    score_of,
    score_table,
)
from kerasrl2.plotting.scores import SCORES

_HEAD = "environment", "algorithm", "runs", "IQM", "95 % interval"


def report(runs, output, score):
    """Prints a table of the runs' scores; see `kerasrl2 report --help`.

    Args:
        runs: List of paths.
        output: Path of a picture of the performance profiles, or None.
        score: String, what of a run is its score.
    """
    check_choice("score", score, SCORES)
    if output is not None:
        check_file("--output", output)
    scores = {
        env: {
            name: [score_of(metrics, score) for metrics in found]
            for name, found in algorithms.items()
        }
        for env, algorithms in grouped(runs).items()
    }
    rows = [_HEAD]
    rows += [_row(*key, entry) for key, entry in score_table(scores).items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number in (2, 3) else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())
    for env, algorithms in scores.items():
        if len(algorithms) == 2:
            typer.echo(_improvement(env, algorithms))
    if output is not None:
        plot_performance_profiles(scores, output)
        typer.echo(f"wrote {output}")


def _row(env, algorithm, entry):
    interval = f"{_figure(entry.low)} to {_figure(entry.high)}"
    if entry.runs == 1:
        interval = "none: one run"
    return env or "-", algorithm, str(entry.runs), _figure(entry.iqm), interval


def _improvement(env, algorithms):
    (first, scores), (second, others) = algorithms.items()
    value, low, high = probability_of_improvement(scores, others)
    interval = (
        "no interval: one run"
        if math.isnan(low)
        else f"95 % interval {low:.2f} to {high:.2f}"
    )
    where = f" on {env}" if env else ""
    return f"P({first} better than {second}){where}: {value:.2f}, {interval}"


def _figure(value):
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
