"""Environments as the command line names them."""

import importlib
import os
import sys
from pathlib import Path

from kerasrl2 import envs
from kerasrl2.cli.values import parse_wrapper


def named(env, without=None):
    """What `"module:name"` names if that can be called, else the id as it is.

    The module is looked for in the current directory as well.

    Args:
        env: String, an id; or `"module:name"` of a callable that returns a new
            `gymnasium.Env`; or `"module:id"`, which Gymnasium knows.
        without: Path or None, a run directory from which nothing is imported: it may
            be a stranger's.

    Returns:
        String, callable or `envs.Environment`.

    Raises:
        ImportError: The module cannot be found.
        ValueError: It holds something else under that name.
    """
    module, colon, name = env.partition(":")
    if not colon or env in envs.ids():
        return env
    _look_here(without)
    value = _module(env, module)
    try:
        for part in name.split("."):
            value = getattr(value, part)
    except AttributeError:
        return env
    if not callable(value) and not isinstance(value, envs.Environment):
        raise ValueError(
            f"Expected {env} to be an id or a callable that returns a new "
            f"environment. Received: {value!r}"
        )
    return value


def recipe(env, without=None):
    """As `named`, for commands that make environments of their own: not one of them."""
    found = named(env, without)
    if isinstance(found, envs.Environment):
        raise ValueError(
            f"Expected {env} to be an id or a callable that returns a new environment, "
            f"since several are needed. Received: {found!r}"
        )
    return found


def options_of(world, without=None):
    """Keywords of `envs.make` that a world asks for.

    Args:
        world: Dictionary, see `worlds`.
        without: As for `named`.
    """
    if any(":" in wrapper for wrapper in world["wrappers"]):
        _look_here(without)
    how = {
        "vectorization": world["vectorization"],
        "wrappers": [parse_wrapper(wrapper) for wrapper in world["wrappers"]],
    }
    how = {name: value for name, value in how.items() if value}
    return {"backend": world["backend"], **how, **world["env_keywords"]}


def implied(world):
    """A line on why an environment in TensorFlow is not played in, or None."""
    reasons = {
        "--wrapper": world["wrappers"],
        "--vectorization": world["vectorization"],
    }
    given = [option for option, value in reasons.items() if value]
    if not given or world["backend"] != "auto" or world["env"] not in envs.ids():
        return None
    return (
        f"{' and '.join(given)}: Gymnasium's version of {world['env']}, not the one in "
        "TensorFlow"
    )


def _look_here(without):
    """Lets imports find modules of the current directory, unless it is in a run's."""
    here = Path.cwd()
    own = without is not None and here.is_relative_to(Path(without).resolve())
    if not own and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _module(env, name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise ImportError(
            f"Expected the module {name!r} of {env} in the current directory or among "
            f"the installed packages. Received: {error}"
        ) from error
