"""Search spaces of algorithms, and what a trial of Optuna picks from them."""

import math
import numbers

from kerasrl2 import _algorithms, zoo

_KINDS = "log", "uniform", "choices"


def search_space(algorithm):
    """What `kerasrl2 tune` varies of an algorithm, and where.

    Algorithms of other packages get the default space: of the names in it those that
    their `for_env` has.

    Args:
        algorithm: String, one of `zoo.algorithms()`.

    Returns:
        Dictionary of keywords of `for_env` to dictionaries with one key: `"log"` or
        `"uniform"` with `[low, high]`, both included, or `"choices"` with a list.
        Between two integers it is integers that are picked.

    Raises:
        ValueError: There is no such algorithm, or nothing of it to vary.

    Example:
    >>> search_space("ppo")["learning_rate"]
    {'log': [1e-05, 0.01]}
    """
    place = _algorithms.place(algorithm)
    spaces = zoo.search_spaces()
    if place.module.startswith("kerasrl2."):
        space = spaces[algorithm]
    else:
        from kerasrl2 import agents
        from kerasrl2.agents.keywords import keywords_of

        known = keywords_of(agents.algorithm(algorithm))
        space = {n: where for n, where in spaces["default"].items() if n in known}
    if not space:
        raise ValueError(
            f"Expected an algorithm with something to tune. Received: {algorithm!r}, "
            "whose `for_env` has none of the settings of the default search space."
        )
    return space


def suggest(trial, space, fixed=None):
    """Settings for a trial, as keywords of `for_env`.

    Floats are rounded to three digits. A minibatch larger than the rollout becomes the
    rollout.

    Args:
        trial: `optuna.Trial`, or an object with `suggest_float`, `suggest_int` and
            `suggest_categorical`.
        space: An algorithm's name, or a dictionary as `search_space` returns it.
        fixed: Dictionary of settings that are not to vary, or None. They are no part of
            the result.

    Returns:
        Dictionary of names to values.

    Raises:
        ValueError: The space is not of this form.

    Example:
    >>> import optuna
    >>> trial = optuna.trial.FixedTrial({"learning_rate": 1.23456e-3, "gamma": 0.99})
    >>> space = {"learning_rate": {"log": [1e-5, 1e-2]}, "gamma": {"choices": [0.99]}}
    >>> suggest(trial, space)
    {'learning_rate': 0.00123, 'gamma': 0.99}
    >>> suggest(trial, space, fixed={"gamma": 0.9})
    {'learning_rate': 0.00123}
    """
    space = search_space(space) if isinstance(space, str) else space
    check_space(space)
    fixed = fixed or {}
    values = {
        name: _suggested(trial, name, where)
        for name, where in space.items()
        if name not in fixed
    }
    _fit_minibatches(values, fixed)
    return values


def check_space(space):
    """Raises `ValueError` unless a search space is as `search_space` describes it.

    Example:
    >>> check_space({"gamma": {"between": [0.9, 1.0]}})
    Traceback (most recent call last):
        ...
    ValueError: Expected ... Received: gamma={'between': [0.9, 1.0]}
    """
    for name, where in space.items():
        if not _is_fine(where):
            raise ValueError(
                "Expected a search space of {'log': [low, high]} with 0 < low < high, "
                "{'uniform': [low, high]} with low < high, or {'choices': [...]} for "
                f"each name. Received: {name}={where!r}"
            )


def _is_fine(where):
    if not isinstance(where, dict) or len(where) != 1:
        return False
    ((kind, values),) = where.items()
    if kind not in _KINDS or not isinstance(values, list | tuple):
        return False
    if kind == "choices":
        return len(values) > 0
    return (
        len(values) == 2
        and all(isinstance(value, numbers.Real) for value in values)
        and all(math.isfinite(value) for value in values)
        and values[0] < values[1]
        and (kind == "uniform" or values[0] > 0)
    )


def _suggested(trial, name, where):
    ((kind, values),) = where.items()
    if kind == "choices":
        return trial.suggest_categorical(name, list(values))
    low, high = values
    if all(isinstance(value, numbers.Integral) for value in values):
        return trial.suggest_int(name, low, high, log=kind == "log")
    value = trial.suggest_float(name, low, high, log=kind == "log")
    return min(max(float(f"{value:.3g}"), low), high)


def _fit_minibatches(values, fixed):
    given = {**fixed, **values}
    if "batch_size" in values and "rollout_length" in given:
        rollout = given["rollout_length"] * given.get("num_envs", 1)
        values["batch_size"] = min(values["batch_size"], rollout)
