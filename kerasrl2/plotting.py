"""Learning curves of one or several runs."""

import csv
import math
from pathlib import Path

import numpy as np


def read_metrics(path):
    """Columns of a run's `metrics.csv` as float arrays.

    Args:
        path: A run directory or the file itself.

    Returns:
        Dictionary of column names to `[epochs]` float64, NaN for empty cells.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds no finished epoch.
    """
    path = Path(path)
    path = path / "metrics.csv" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a run with metrics. There is no file {path}."
        )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "env_steps" not in rows[0]:
        raise ValueError(f"Expected at least one finished epoch in {path}.")
    return {
        name: np.array([_number(row[name]) for row in rows]) for name in rows[0] if name
    }


def plot_learning_curves(groups, filepath, title=None):
    """Draws returns against env steps: the mean over runs and their spread.

    Args:
        groups: Dictionary of labels to lists of metrics (`read_metrics`), one for each
            run, for instance for each seed.
        filepath: The file to write; its suffix selects the format.
        title: String or None.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
        axes = figure.subplots()
        for index, (label, runs) in enumerate(groups.items()):
            _draw(axes, label, runs, f"C{index}")
        axes.set_xlabel("environment steps")
        axes.set_ylabel("return per episode")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
        axes.legend(loc="best", frameon=False)
        axes.set_title(title or "")
        figure.savefig(filepath)


def _draw(axes, label, runs, color):
    for name, what, style in (
        ("val_return", "greedy evaluation", "-"),
        ("return", "while training", "--"),
    ):
        curves = [(run["env_steps"], run[name]) for run in runs if name in run]
        if not curves:
            continue
        steps = np.unique(np.concatenate([steps for steps, _ in curves]))
        table = np.array([_interpolated(steps, *curve) for curve in curves])
        shown = np.isfinite(table).any(axis=0)
        steps, table = steps[shown], table[:, shown]
        mean = np.nanmean(table, axis=0)
        many = f", mean of {len(curves)} runs" if len(curves) > 1 else ""
        axes.plot(
            steps,
            mean,
            style,
            color=color,
            alpha=1.0 if style == "-" else 0.5,
            marker="o" if len(steps) < 3 else None,
            label=f"{label}: {what}{many}",
        )
        if len(curves) > 1:
            low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
            axes.fill_between(steps, low, high, color=color, alpha=0.12, lw=0)


def _interpolated(steps, own_steps, values):
    finite = np.isfinite(values)
    if not finite.any():
        return np.full(len(steps), math.nan)
    own_steps, values = own_steps[finite], values[finite]
    return np.interp(steps, own_steps, values, left=math.nan, right=math.nan)


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
