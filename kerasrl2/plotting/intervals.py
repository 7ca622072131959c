"""Means over runs and how sure they are: rliable's stratified bootstrap.

Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical
Precipice", https://arxiv.org/abs/2108.13264.
"""

import numpy as np

from kerasrl2._checks import check_choice, check_range

STATISTICS = "mean", "iqm"
_RESAMPLES = 2000


def interquartile_mean(scores):
    """Mean of the middle half of the runs, `[...]` of `[runs, ...]`.

    A quarter of the runs, rounded down, is left out at either end: one of five at each.

    Args:
        scores: `[runs, ...]` float.

    Returns:
        `[...]` float64.

    Example:
    >>> float(interquartile_mean([1.0, 500.0, 480.0, 490.0, 500.0]))
    490.0
    """
    scores = np.sort(np.asarray(scores, "float64"), axis=0)
    cut = len(scores) // 4
    return scores[cut : len(scores) - cut].mean(axis=0)


def bootstrap_interval(scores, statistic="iqm", size=0.95, seed=0):
    """Bootstrap interval of the mean or the interquartile mean over runs.

    Runs are drawn with replacement 2 000 times; the interval holds the middle `size` of
    the statistics of what was drawn.

    Args:
        scores: `[runs, ...]` float, runs of one algorithm in one environment.
        statistic: `"iqm"` or `"mean"`.
        size: Float in (0, 1), the share that the interval holds.
        seed: Integer, of the draws.

    Returns:
        `(low, high)`, each `[...]` float64; NaN where there is but one run.

    Raises:
        ImportError: rliable is not installed.
        ValueError: An argument is out of range.

    Example:
    >>> low, high = bootstrap_interval([480.0, 490.0, 500.0, 500.0, 1.0])
    >>> bool(1.0 <= low < 490.0 < high <= 500.0)
    True
    """
    check_choice("statistic", statistic, STATISTICS)
    check_range("size", size, 0.0, 1.0, open_low=True, open_high=True)
    scores = np.asarray(scores, "float64")
    if len(scores) < 2:
        nothing = np.full(scores.shape[1:], np.nan)
        return nothing, nothing
    flat = scores.reshape(len(scores), 1, -1)  # [runs, one task, rest]

    def of_resampled(resampled):
        runs = resampled[:, 0]
        return runs.mean(axis=0) if statistic == "mean" else interquartile_mean(runs)

    low, high = resampled_interval(flat, of_resampled, size, seed)
    return low.reshape(scores.shape[1:]), high.reshape(scores.shape[1:])


def resampled_interval(scores, function, size=0.95, seed=0):
    """Percentiles of a function of resampled runs.

    Args:
        scores: `[runs, tasks, ...]` float, or a list of two such arrays.
        function: Function of such to `[...]` float.
        size: Float in (0, 1).
        seed: Integer.

    Returns:
        `[2, ...]` float64.
    """
    library = rliable_library()
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002  (it draws from there, whatever it is given)
    try:
        _, intervals = library.get_interval_estimates(
            {"": scores}, function, reps=_RESAMPLES, confidence_interval_size=size
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return intervals[""]


def rliable_library():
    """`rliable.library`; raises `ImportError` that says how to install it."""
    try:
        import rliable.library
    except ImportError:
        raise ImportError(
            "Expected rliable for bootstrap intervals. Received: it is not installed. "
            "`pip install 'kerasrl2[report]'` installs it."
        ) from None
    except TypeError as error:  # `arch` 7 with pandas 3, at its import
        raise ImportError(
            f"Expected rliable with pandas 2. Received: {error}. "
            "`pip install 'kerasrl2[report]'` installs versions that fit."
        ) from None
    return rliable.library
