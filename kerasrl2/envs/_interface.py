"""What is no single Gymnasium environment, and what to do about it."""

import gymnasium
from gymnasium import spaces

_BATCHED = "send", "recv"  # of EnvPool, whose environments are `gymnasium.Env`s


def is_batched(env):
    """Whether an object steps several environments at a time."""
    vector = isinstance(env, gymnasium.vector.VectorEnv)
    return vector or all(callable(getattr(env, name, None)) for name in _BATCHED)


def is_single(env):
    """Whether an object is a `gymnasium.Env` and one environment."""
    return isinstance(env, gymnasium.Env) and not is_batched(env)


def advice(env):
    """What to do about an object that is not `is_single`, to end a message with."""
    if is_batched(env):
        copies = getattr(env, "num_envs", None)
        copies = copies if isinstance(copies, int) else 8
        return (
            ", which steps several environments at a time. That is not accepted yet: "
            "give the id of one environment, or a callable that returns one, and "
            f"num_envs={copies}; `subprocess=True` of `envs.make` steps them side by "
            "side."
        )
    if callable(getattr(env, "step", None)) and callable(getattr(env, "reset", None)):
        return (
            ", which is not derived from `gymnasium.Env`. Derive its class from it; "
            "one of gym before version 0.26 also needs `reset(seed=None, "
            "options=None)` and five values from `step`."
        )
    return ""


def check_has_space(env, name):
    """Raises `ValueError` unless an attribute of an environment is a space."""
    space = getattr(env, name, None)
    if not isinstance(space, spaces.Space):
        raise ValueError(
            f"Expected `{name}` of {type(env).__name__} to be a space of "
            f"`gymnasium.spaces`. Received: {name}={space!r}. Set it in the "
            "constructor."
        )
