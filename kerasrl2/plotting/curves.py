"""Learning curves of one or several runs."""

import math

import numpy as np

from kerasrl2._checks import check_choice, check_positive_integer, check_range
from kerasrl2.plotting.intervals import (
    STATISTICS,
    bootstrap_interval,
    interquartile_mean,
)
from kerasrl2.plotting.panels import panels_of, subplots
from kerasrl2.plotting.reading import COLUMNS, metrics_of

_WORDS = {"evaluation": "greedy evaluation", "training": "while training"}
_NAMES = {"mean": "mean", "iqm": "interquartile mean"}


def plot_learning_curves(
    groups,
    filepath=None,
    title=None,
    statistic="mean",
    interval="range",
    returns="both",
    smoothing=1,
):
    """Draws returns against env steps: a mean over runs and their spread.

    Args:
        groups: Dictionary of labels to lists of runs, for instance one for each seed,
            in any form that `metrics_of` takes; or, for several panels, a dictionary of
            their titles to such dictionaries.
        filepath: The file to write, or None; its suffix selects the format.
        title: String or None.
        statistic: `"mean"`, or `"iqm"` for the interquartile mean.
        interval: `"range"`, from the least to the greatest of the runs; or a float in
            (0, 1), such as 0.95, the size of a stratified bootstrap interval.
        returns: `"evaluation"`, `"training"` or `"both"`.
        smoothing: Integer, over how many epochs each run's returns are averaged: at
            each, itself and those before.

    Returns:
        `matplotlib.figure.Figure`. Where runs differ in their steps, values between are
        interpolated; an interquartile mean and a bootstrap interval end with the
        shortest run.

    Raises:
        ImportError: A bootstrap interval needs rliable.
        FileNotFoundError: A run's file is not there.
        ValueError: An argument is out of range, or no run has a return.

    Example:
    >>> run = {"env_steps": [100, 200], "return": [9.0, 21.0]}
    >>> other = {"env_steps": [100, 200], "return": [11.0, 25.0]}
    >>> figure = plot_learning_curves({"PPO": [run, other]})
    >>> figure.axes[0].lines[0].get_ydata()
    array([10., 23.])
    """
    import matplotlib as mpl
    from matplotlib.ticker import EngFormatter

    check_choice("statistic", statistic, STATISTICS)
    check_choice("returns", returns, (*COLUMNS, "both"))
    check_positive_integer("smoothing", smoothing)
    if interval != "range":
        check_range("interval", interval, 0.0, 1.0, open_low=True, open_high=True)
    kinds = COLUMNS if returns == "both" else [returns]
    panels = {
        name: {
            label: [metrics_of(run) for run in runs] for label, runs in panel.items()
        }
        for name, panel in panels_of(groups).items()
    }
    curves = {
        name: {
            (label, kind): _curve(runs, COLUMNS[kind], statistic, interval, smoothing)
            for label, runs in panel.items()
            for kind in kinds
        }
        for name, panel in panels.items()
    }
    if not any(curve for panel in curves.values() for curve in panel.values()):
        raise ValueError(
            "Expected at least one run with a return: an episode that ended, or an "
            f"evaluation. Received: none in {', '.join(_labels(panels))}. Train for "
            "more steps, or with `validation_env`."
        )
    both = len(kinds) == 2
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = subplots(panels, title)
        for ax, (name, panel) in zip(axes, curves.items(), strict=True):
            colors = {label: f"C{i}" for i, label in enumerate(panels[name])}
            drawn = {key: curve for key, curve in panel.items() if curve is not None}
            for (label, kind), curve in drawn.items():
                shown = f"{label}: {_WORDS[kind]}" if both else label
                _draw(ax, shown, colors[label], curve, both and kind == "training")
            ax.set_xlabel("environment steps")
            ax.set_ylabel(
                "return per episode" + ("" if both else f", {_WORDS[returns]}")
            )
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            ax.grid(alpha=0.3)
            ax.legend(loc="best", frameon=False)
        if any(len(runs) > 1 for panel in panels.values() for runs in panel.values()):
            figure.supxlabel(_explained(statistic, interval), fontsize="small")
        if filepath is not None:
            figure.savefig(filepath)
    return figure


def _explained(statistic, interval):
    """What lines and bands are, below the panels."""
    band = "least to greatest"
    if interval != "range":
        band = f"{100 * interval:g} % bootstrap interval"
    return f"line: {_NAMES[statistic]} of the runs; band: {band}"


def _labels(panels):
    return [label for panel in panels.values() for label in panel]


def _curve(runs, column, statistic, interval, smoothing):
    """`(steps, middle, low, high, count)` of runs, or None if none has a return.

    `low` and `high` are None for a single run.
    """
    found = [(run["env_steps"], run[column]) for run in runs if column in run]
    found = [(s, v) for s, v in found if np.isfinite(v).any()]
    if not found:
        return None
    steps = np.unique(np.concatenate([steps for steps, _ in found]))
    table = np.array([_interpolated(steps, *curve, smoothing) for curve in found])
    whole = statistic == "iqm" or interval != "range"
    shown = np.isfinite(table)
    shown = shown.all(axis=0) if whole else shown.any(axis=0)
    steps, table = steps[shown], table[:, shown]
    if len(steps) == 0:
        return None
    if statistic == "iqm":
        middle = interquartile_mean(table)
    else:
        middle = np.nanmean(table, axis=0)
    low = high = None
    if len(found) > 1 and interval == "range":
        low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    elif len(found) > 1:
        low, high = bootstrap_interval(table, statistic, interval)
    return steps, middle, low, high, len(found)


def _draw(ax, label, color, curve, faint):
    steps, middle, low, high, count = curve
    ax.plot(
        steps,
        middle,
        "--" if faint else "-",
        color=color,
        alpha=0.5 if faint else 1.0,
        marker="o" if len(steps) < 3 else None,
        label=label + (f", {count} runs" if count > 1 else ""),
    )
    if low is not None:
        ax.fill_between(steps, low, high, color=color, alpha=0.12, lw=0)


def _interpolated(steps, own_steps, values, smoothing):
    finite = np.isfinite(values)
    own_steps, values = own_steps[finite], values[finite]
    ends = range(1, len(values) + 1)
    values = [values[max(0, end - smoothing) : end].mean() for end in ends]
    return np.interp(steps, own_steps, values, left=math.nan, right=math.nan)
