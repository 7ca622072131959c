"""Learning curves and scores of runs, over their seeds, with intervals.

Bootstrap intervals are those of rliable, in the extra `report`.
"""

from kerasrl2.plotting.curves import plot_learning_curves
from kerasrl2.plotting.intervals import bootstrap_interval, interquartile_mean
from kerasrl2.plotting.profiles import plot_performance_profiles
from kerasrl2.plotting.reading import has_episodes, metrics_of, read_metrics
from kerasrl2.plotting.scores import (
    Score,
    probability_of_improvement,
    score_of,
    score_table,
    summarized,
)

__all__ = [
    "Score",
    "bootstrap_interval",
    "has_episodes",
    "interquartile_mean",
    "metrics_of",
    "plot_learning_curves",
    "plot_performance_profiles",
    "probability_of_improvement",
    "read_metrics",
    "score_of",
    "score_table",
    "summarized",
]
