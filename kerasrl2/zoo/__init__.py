"""Tuned settings: one YAML file per algorithm, one entry per environment.

An algorithm without a file has no tuned settings. Those of algorithms of other packages
are the `settings` they were registered with.
"""

import math
import re
from collections.abc import Mapping
from importlib import resources

import yaml

from kerasrl2 import _algorithms

_LINEAR = re.compile(r"linear\s+(\S+)(?:\s+(\S+))?")


def algorithms():
    """Names of all algorithms, tuned or not, sorted."""
    return _algorithms.names()


def environments(algorithm):
    """Ids of the environments an algorithm has tuned settings for, as a list.

    Raises:
        ValueError: There is no such algorithm.
    """
    return list(_load(algorithm))


def settings(algorithm, env_id):
    """Tuned settings as a dictionary, empty for an environment without any.

    `steps` is the number of env steps they were tuned for; the rest are keywords of the
    agent's `for_env`. `"linear 1e-3"` means a linear decay to 0 over the run,
    `"linear 1e-3 1e-4"` a linear decay to 1e-4: see `with_schedules`.

    Raises:
        ValueError: There is no such algorithm.

    Example:
    >>> settings("ppo", "CartPole-v1")["num_envs"]
    8
    """
    return dict(_load(algorithm).get(env_id, {}))


def search_spaces():
    """What `kerasrl2 tune` varies: `search_spaces.yaml` beside the settings.

    Returns:
        Dictionary of algorithms' names, and of `"default"`, to search spaces; see
        `tuning.search_space`.
    """
    file = resources.files(__name__) / "search_spaces.yaml"
    return yaml.safe_load(file.read_text("utf-8"))


def with_schedules(values, gradient_steps):
    """Replaces every `"linear ..."` by a Keras schedule over `gradient_steps`."""
    return {
        name: _schedule(name, value, gradient_steps)
        if isinstance(value, str) and value.startswith("linear")
        else value
        for name, value in values.items()
    }


def _schedule(name, text, gradient_steps):
    import keras

    match = _LINEAR.fullmatch(text.strip())
    try:
        start, end = float(match[1]), float(match[2] or 0.0)
        fine = min(start, end) >= 0.0 and max(start, end) < math.inf
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise ValueError(
            f"Expected `{name}` as a number or 'linear START [END]', both of them >= "
            f"0. Received: {text!r}"
        )
    return keras.optimizers.schedules.PolynomialDecay(start, gradient_steps, end)


def _load(algorithm):
    """Dictionary of environment ids to dictionaries of settings."""
    if _algorithms.place(algorithm).module.startswith("kerasrl2."):
        file = resources.files(__name__) / f"{algorithm}.yaml"
        return yaml.safe_load(file.read_text("utf-8")) if file.is_file() else {}
    from kerasrl2.agents import registration

    settings = registration(algorithm).settings or {}
    if not isinstance(settings, Mapping):
        settings = _read(settings)
    for env_id, values in settings.items():
        if not isinstance(env_id, str) or not isinstance(values, Mapping):
            raise ValueError(
                f"Expected the settings of {algorithm!r} as a dictionary of "
                "environment ids to dictionaries of keywords. Received: "
                f"{env_id!r}: {values!r}"
            )
    return settings


def _read(path):
    try:
        settings = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"Expected readable YAML in {path}: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(
            f"Expected a dictionary of environment ids in {path}. Received: "
            f"{type(settings).__name__}"
        )
    return settings
