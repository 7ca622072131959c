"""Final scores of algorithms over their runs, with intervals."""

from typing import NamedTuple

import numpy as np

from kerasrl2._checks import check_choice
from kerasrl2.plotting.intervals import (
    bootstrap_interval,
    interquartile_mean,
    resampled_interval,
)
from kerasrl2.plotting.panels import panels_of
from kerasrl2.plotting.reading import metrics_of

SCORES = "last", "best", "training"


class Score(NamedTuple):
    """What an algorithm reached in an environment.

    Attributes:
        runs: Integer, over how many runs.
        iqm: Float, the interquartile mean of their returns.
        low: Float, lower end of the 95 % interval; NaN with a single run.
        high: Float, its upper end.
        mean: Float.

    Example:
    >>> Score(runs=5, iqm=498.0, low=487.5, high=500.0, mean=495.2).iqm
    498.0
    """

    runs: int
    iqm: float
    low: float
    high: float
    mean: float


def score_of(run, which="last"):
    """The return of a run as one number.

    Args:
        run: What `metrics_of` takes.
        which: `"last"` or `"best"` of its evaluations, or `"training"`, the mean of the
            training episodes in its last epoch with any.

    Returns:
        Float.

    Raises:
        FileNotFoundError: The run's file is not there.
        ValueError: It has no evaluation, or no episode ended.

    Example:
    >>> score_of({"env_steps": [1, 2, 3], "val_return": [5.0, 9.0, 8.0]})
    8.0
    """
    check_choice("which", which, SCORES)
    metrics = metrics_of(run)
    name = "return" if which == "training" else "val_return"
    values = metrics.get(name, np.empty(0))
    values = values[np.isfinite(values)]
    if len(values) == 0:
        what = "an episode that ended" if which == "training" else "an evaluation"
        where = "" if isinstance(run, dict) else f": {run}"
        raise ValueError(
            f"Expected runs with {what}. Received: one with no finite `{name}`{where}. "
            "Train for more steps, or with `validation_env`."
        )
    return float(values.max() if which == "best" else values[-1])


def summarized(scores):
    """A `Score` of the returns of runs that differ in nothing but their seeds.

    Args:
        scores: `[runs]` float.

    Raises:
        ImportError: rliable is not installed.

    Example:
    >>> summarized([500.0]).low
    nan
    """
    scores = np.asarray(scores, "float64")
    low, high = bootstrap_interval(scores)
    iqm, mean = interquartile_mean(scores), scores.mean()
    return Score(len(scores), float(iqm), float(low), float(high), float(mean))


def score_table(groups):
    """A `Score` for each algorithm and environment.

    Args:
        groups: Dictionary of environments to dictionaries of algorithms to lists of
            returns, one for each run; or one of the latter dictionaries alone.

    Returns:
        Dictionary of `(environment, algorithm)` to `Score`; the environment of a single
        dictionary is `""`.

    Raises:
        ImportError: rliable is not installed.

    Example:
    >>> table = score_table({"CartPole-v1": {"ppo": [500.0, 500.0, 480.0]}})
    >>> table["CartPole-v1", "ppo"].runs
    3
    """
    return {
        (env, algorithm): summarized(scores)
        for env, algorithms in panels_of(groups).items()
        for algorithm, scores in algorithms.items()
    }


def probability_of_improvement(scores, others, seed=0):
    """How likely a run of the first algorithm is better than one of the second.

    The share of all pairs of runs in which it is, equal ones counted half.

    Args:
        scores: `[runs]` float, of one environment.
        others: `[runs]` float, of the same.
        seed: Integer, of the bootstrap's draws.

    Returns:
        `(probability, low, high)`, floats; the 95 % interval is NaN if either has a
        single run.

    Raises:
        ImportError: rliable is not installed.

    Example:
    >>> probability_of_improvement([5.0, 6.0], [1.0, 5.0])[0]
    0.875
    """
    pair = [np.asarray(x, "float64").reshape(-1, 1) for x in (scores, others)]
    value = float(_share_of_pairs(*pair))
    if min(map(len, pair)) < 2:
        return value, float("nan"), float("nan")
    low, high = np.ravel(resampled_interval(pair, _share_of_pairs, seed=seed))
    return value, float(low), float(high)


def _share_of_pairs(scores, others):
    difference = scores - others.T  # [runs, runs of the other]
    return np.mean((difference > 0) + 0.5 * (difference == 0))
