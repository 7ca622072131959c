"""Wrappers of Gymnasium, by name or as callables, around what makes an environment."""

import functools
import importlib
import inspect

import gymnasium

from kerasrl2._checks import check_keywords, did_you_mean

# Their moments are in no file, and each environment has its own, also in evaluation.
_INSTEAD = {
    "NormalizeObservation": "`normalize_observations=True` of the agent",
    "NormalizeReward": "`normalize_rewards=True` of PPO and A2C, `clip_rewards` of DQN",
}


def names():
    """Sorted names of the wrappers of Gymnasium that `make` takes.

    >>> names()[:2]
    ['AddRenderObservation', 'AddWhiteNoise']
    """
    return sorted({*gymnasium.wrappers.__all__} - {"vector", *_INSTEAD})


def resolved(wrappers):
    """`(name, callable)` of each wrapper; of such a list, the list.

    Args:
        wrappers: As for `envs.make`.

    Raises:
        ValueError: There is no wrapper of a name, or it lacks a keyword.
        ImportError: It is in a module or needs one that is not installed.
    """
    if isinstance(wrappers, str) or not isinstance(wrappers, list | tuple):
        raise ValueError(
            "Expected `wrappers` as a list of names, callables or pairs of a name and "
            f"a dictionary. Received: {wrappers!r:.200}"
        )
    return [_named(wrapper) for wrapper in wrappers]


def prepared(wrappers):
    """Callables from one `gymnasium.Env` to another, whose errors name the wrapper."""
    return [_explained(name, function) for name, function in resolved(wrappers)]


def wrapped(make, wrappers):
    """A callable like `make` that puts wrappers around what this one returns.

    Args:
        make: Callable that returns a new `gymnasium.Env`.
        wrappers: As for `envs.make`, the innermost first.

    Returns:
        Callable; `make` itself if there are no wrappers.
    """
    return _around(make, prepared(wrappers)) if wrappers else make


# What the next two functions return is sent by value to other processes: it may refer
# to no module of this package, since that imports TensorFlow.


def _around(make, functions):
    def made(*args, **kwargs):
        env = make(*args, **kwargs)
        for function in functions:
            env = function(env)
        return env

    return made


def _explained(name, function):
    def wrap(env):
        try:
            result = function(env)
        except gymnasium.error.DependencyNotInstalled as error:
            missing = f"The wrapper {name} needs a missing package: {error}"
            raise ImportError(missing) from error
        except Exception as error:
            raise ValueError(
                f"Expected a wrapper that takes {env}. Received: {name}, which raised "
                f"{type(error).__name__}: {error}. Look at its arguments, the order of "
                "the wrappers and the spaces of the environment."
            ) from error
        if not isinstance(result, gymnasium.Env):
            raise ValueError(
                "Expected a wrapper that returns a `gymnasium.Env`. Received: "
                f"{name}, which returned {result!r:.200}"
            )
        return result

    return wrap


def _named(wrapper):
    """`(name, function)` of one of the elements of `wrappers`."""
    if callable(wrapper):
        return getattr(wrapper, "__name__", repr(wrapper)), wrapper
    name, more = wrapper if _is_pair(wrapper) else (wrapper, {})
    if callable(more):  # resolved before
        return name, more
    if not (isinstance(name, str) and isinstance(more, dict)):
        raise ValueError(
            "Expected a wrapper as a name, a callable, or a pair of a name and a "
            f"dictionary. Received: {wrapper!r:.200}"
        )
    function = _imported(name) if ":" in name else _of_gymnasium(name)
    if not more:
        return name, function
    parameters = inspect.signature(function).parameters
    if inspect.Parameter.VAR_KEYWORD not in {p.kind for p in parameters.values()}:
        check_keywords(name, more, list(parameters)[1:])
    shown = ", ".join(f"{key}={value!r}" for key, value in more.items())
    return f"{name}({shown})", functools.partial(function, **more)


def _is_pair(wrapper):
    return isinstance(wrapper, list | tuple) and len(wrapper) == 2


def _of_gymnasium(name):
    if name in _INSTEAD:
        raise ValueError(
            f"Expected {_INSTEAD[name]}. Received: the wrapper {name}, whose moments "
            "are saved in no file, differ between copies and go on changing in "
            "evaluation; those of the agent are saved with it, and frozen there."
        )
    if name not in names():
        raise ValueError(
            "Expected a wrapper of `gymnasium.wrappers`, or 'module:name' of another. "
            f"Received: {name!r}"
            + (did_you_mean(name, names()) or f". There are: {', '.join(names())}")
        )
    try:
        return getattr(gymnasium.wrappers, name)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        missing = f"The wrapper {name} needs a missing package: {error}"
        raise ImportError(missing) from error


def _imported(name):
    """What `"module:name"` names."""
    module_name, _, path = name.partition(":")
    try:
        value = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise ImportError(
            f"Expected the module {module_name!r} of the wrapper {name} among the "
            f"installed packages. Received: {error}"
        ) from error
    for part in path.split("."):
        known = [key for key, x in vars(value).items() if callable(x)]
        value = getattr(value, part, None)
        if not callable(value):
            raise ValueError(
                f"Expected {name} to be a callable that takes a `gymnasium.Env` and "
                f"returns another. Received: {value!r:.200}{did_you_mean(part, known)}"
            )
    return value
