"""Performance profiles: what share of the runs reached how much."""

import numpy as np

from kerasrl2.plotting.intervals import resampled_interval
from kerasrl2.plotting.panels import panels_of, subplots

_POINTS = 200


def plot_performance_profiles(groups, filepath=None, title=None):
    """Draws, for each return, the share of an algorithm's runs that are above it.

    Args:
        groups: As for `score_table`: dictionaries of labels to lists of returns, one
            for each run, for one panel or several.
        filepath: The file to write, or None; its suffix selects the format.
        title: String or None.

    Returns:
        `matplotlib.figure.Figure`; around the profile of several runs is its 95 %
        bootstrap interval.

    Raises:
        ImportError: rliable is not installed, and there are several runs.

    Example:
    >>> scores = {"ppo": [500.0, 490.0], "a2c": [500.0, 200.0]}
    >>> figure = plot_performance_profiles(scores)
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['ppo', 'a2c']
    """
    import matplotlib as mpl

    panels = panels_of(groups)
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = subplots(panels, title)
        for ax, panel in zip(axes, panels.values(), strict=True):
            everything = np.concatenate([np.ravel(scores) for scores in panel.values()])
            low, high = everything.min(), everything.max()
            margin = 0.05 * (high - low) or 1.0
            places = np.linspace(low - margin, high + margin, _POINTS)
            for index, (label, scores) in enumerate(panel.items()):
                _draw(ax, label, scores, places, f"C{index}")
            ax.set_xlabel("return per episode")
            ax.set_ylabel("share of runs above it")
            ax.set_ylim(-0.03, 1.03)
            ax.grid(alpha=0.3)
            ax.legend(loc="best", frameon=False)
        if filepath is not None:
            figure.savefig(filepath)
    return figure


def _draw(ax, label, scores, places, color):
    scores = np.asarray(scores, "float64").reshape(-1, 1)

    def shares(runs):
        return (runs > places).mean(axis=0)

    if len(scores) > 1:
        band = resampled_interval(scores, shares)
        ax.fill_between(places, *band, color=color, alpha=0.12, lw=0)
    ax.plot(places, shares(scores), color=color, label=label)
