"""Tuned settings: one YAML file an algorithm, one entry an environment."""

import re
from importlib import resources

import yaml

_LINEAR = re.compile(r"linear\s+(\S+)(?:\s+(\S+))?")


def algorithms():
    """Names of the algorithms with tuned settings, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name[:-5] for f in files if f.name.endswith(".yaml"))


def environments(algorithm):
    """Ids of the environments an algorithm has tuned settings for."""
    return list(_load(algorithm))


def settings(algorithm, env_id):
    """Tuned settings as a dictionary, empty for an unknown environment.

    `steps` is how many env steps they were tuned for; the rest are keywords of the
    agent's `for_env`. `"linear 1e-3"` stands for a linear decay to 0 over the run,
    `"linear 1e-3 1e-4"` for one that ends elsewhere: see `with_schedules`.

    Example:
    >>> settings("ppo", "CartPole-v1")["num_envs"]
    8
    """
    return dict(_load(algorithm).get(env_id, {}))


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
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected `{name}` as a number or 'linear START [END]'. Received: {text!r}"
        ) from None
    return keras.optimizers.schedules.PolynomialDecay(start, gradient_steps, end)


def _load(algorithm):
    text = (resources.files(__name__) / f"{algorithm}.yaml").read_text("utf-8")
    return yaml.safe_load(text)
