"""Says which keywords of an environment's constructor are wrong."""

import contextlib
import inspect

import gymnasium
from gymnasium.envs.registration import load_env_creator

from kerasrl2._checks import check_keywords

# What wrong keywords raise besides `ValueError`, which says what is wrong.
_KINDS = TypeError, LookupError, AssertionError, AttributeError


@contextlib.contextmanager
def keywords_explained(env, kwargs, vectorization=None):
    """Turns what a constructor raises about its keywords into a `ValueError`.

    Without keywords, exceptions stay as they are: they are about the environment.

    Args:
        env: String or callable, what is made.
        kwargs: Dictionary, the keywords that the constructor gets.
        vectorization: String or None, as for `envs.make`.
    """
    try:
        yield
    except _KINDS as error:
        if not kwargs:
            raise
        name = env if isinstance(env, str) else getattr(env, "__name__", repr(env))
        if isinstance(error, TypeError) and (known := _known(env, vectorization)):
            check_keywords(name, kwargs, known)
        shown = ", ".join(f"{key}={value!r:.100}" for key, value in kwargs.items())
        raise ValueError(
            f"Expected keywords with which {name} can be made. Received: {shown}, "
            f"with which it raised {type(error).__name__}: {error}"
        ) from error


def _known(env, vectorization):
    """Names that a constructor takes; None if any, or if it is not known."""
    further, constructor = (), env
    if isinstance(env, str):
        spec = gymnasium.registry.get(env.rpartition(":")[2])
        one = vectorization != "vector_entry_point"
        constructor = getattr(spec, "entry_point" if one else "vector_entry_point", "")
        if isinstance(constructor, str):
            constructor = load_env_creator(constructor) if constructor else None
        further = ("max_episode_steps",)
    if constructor is None:
        return None
    parameters = inspect.signature(constructor).parameters
    if inspect.Parameter.VAR_KEYWORD in {p.kind for p in parameters.values()}:
        return None
    return {*parameters, *further} - {"num_envs"}  # an argument of `make`
