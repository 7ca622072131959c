"""What is one Gymnasium environment, what is several, and what is none."""

import gymnasium
from gymnasium import spaces

_BATCHED = "send", "recv"  # of EnvPool, whose environments are `gymnasium.Env`s


class Preferred(int):
    """A number of copies that is a wish, not a demand.

    Of a callable that returns a `VectorEnv`, the number that this one has counts.
    """


def is_batched(env):
    """Whether an object steps several environments at a time."""
    if isinstance(env, gymnasium.vector.VectorEnv | type):
        return not isinstance(env, type)
    return all(callable(getattr(env, name, None)) for name in _BATCHED)


def is_single(env):
    """Whether an object is a `gymnasium.Env` and one environment."""
    return isinstance(env, gymnasium.Env) and not is_batched(env)


def advice(env):
    """What to do about an object that is not `is_single`, to end a message with."""
    if is_batched(env):
        return (
            ", which steps several environments at a time. One alone is needed here: "
            "give the id of one environment, or a callable that returns one."
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
