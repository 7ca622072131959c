"""Environments that give pictures of themselves, for recordings."""

import importlib.util
import inspect
import warnings

import gymnasium
import numpy as np

from kerasrl2._checks import check_choice
from kerasrl2.envs._drawn_elsewhere import DrawnElsewhere, needs_it
from kerasrl2.envs._subprocess import factory_of
from kerasrl2.envs._wrapping import resolved, wrapped
from kerasrl2.envs.core import Environment, TensorFlowEnvironment
from kerasrl2.envs.registry import ids, make, make_single

BACKENDS = "auto", "tensorflow", "gymnasium"


def make_drawn(env, backend="auto", wrappers=(), **kwargs):
    """An environment that can be recorded.

    Args:
        env: String, an id; a callable that returns a `gymnasium.Env`, with the keyword
            `render_mode` or already in this mode, or a `TensorFlowEnvironment`; or one
            of these, which is returned unchanged.
        backend: String, of an id that both have: `"tensorflow"`, which draws itself,
            or `"gymnasium"`; `"auto"` is Gymnasium's, unless it lacks pygame.
        wrappers: List, as for `make`; they imply Gymnasium's version.
        **kwargs: Passed to the environment's constructor.

    Returns:
        `TensorFlowEnvironment`, or `gymnasium.Env` with `render_mode="rgb_array"`.

    Raises:
        ValueError: It gives no pictures, or `env` is none of these.
    """
    check_choice("backend", backend, BACKENDS)
    if isinstance(env, str) and not wrappers and _draws_itself(env, backend):
        return _checked(make(env, backend="tensorflow", **kwargs))
    if isinstance(env, Environment):
        if kwargs or wrappers:
            raise ValueError(
                "Expected an id or a callable, to pass keywords and wrappers. Received:"
                f" the environment {env.id!r} with {sorted(kwargs)}, {wrappers}"
            )
        return _checked(env)
    if isinstance(env, str) or (callable(env) and _takes_render_mode(env)):
        kwargs = {"render_mode": "rgb_array", **kwargs}
    makes = callable(env) and not isinstance(env, gymnasium.Env)
    factory = factory_of(env, kwargs) if makes or isinstance(env, str) else None
    if makes:
        made = env(**kwargs)
        if isinstance(made, Environment):
            return make_drawn(made, wrappers=wrappers)
        env, kwargs = made, {}
    made = _made(env, backend, wrappers, kwargs)
    if made.render_mode != "rgb_array":
        raise ValueError(
            'Expected an environment made with render_mode="rgb_array". '
            f"Received: {made} with render_mode={made.render_mode!r}"
        )
    if factory is None or not needs_it(made):
        return made
    made.close()
    return DrawnElsewhere(wrapped(factory, resolved(wrappers)))


def rendered(env):
    """The picture of a `gymnasium.Env`, `[height, width, 3]` uint8.

    Raises:
        ImportError: A package that it draws with is missing.
        ValueError: It has no renderer.
    """
    try:
        picture = env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        if "pygame" not in str(error):
            raise ImportError(f"{env} draws with a missing package: {error}") from None
        raise ImportError(
            f'{env} draws with a missing package, pygame: pip install "kerasrl2[video]"'
        ) from None
    except NotImplementedError:
        picture = None
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise ValueError(
            "Expected an environment that renders images, `[height, width, 3]` with "
            f'render_mode="rgb_array". Received: {env}, which has no such renderer: '
            f"`render` gave {type(picture).__name__}."
        )
    return picture


def _made(env, backend, wrappers, kwargs):
    """As `make_single`; an id that takes no `render_mode` is one error."""
    with warnings.catch_warnings():
        # What comes of it is found out when the first picture is taken.
        message = ".*not in the possible render_modes.*"
        warnings.filterwarnings("ignore", message, UserWarning)
        try:
            return make_single(env, backend, wrappers, **kwargs)
        except ValueError as error:
            if "'render_mode'" not in str(error):
                raise
            raise ValueError(
                "Expected an environment that renders images and takes "
                f'`render_mode="rgb_array"`. Received: {env!r}, whose constructor has '
                "no such keyword. Add it, and a method `render` that returns `[height, "
                "width, 3]` uint8."
            ) from None


def _draws_itself(env, backend):
    """Whether an id's version in TensorFlow is the one to record."""
    if backend != "auto":
        return backend == "tensorflow"
    if env not in ids():
        return False
    twin = env in gymnasium.registry
    return not twin or importlib.util.find_spec("pygame") is None


def _checked(env):
    if not isinstance(env, TensorFlowEnvironment):
        raise ValueError(
            "Expected an id, a callable, a `gymnasium.Env` or a "
            f"`TensorFlowEnvironment` to record. Received: {env.id!r}, a "
            f"{type(env).__name__}, which renders no images. Give its id, and its "
            "settings as keywords."
        )
    if type(env).picture is TensorFlowEnvironment.picture:
        env.picture(None)  # raises, and says what to define
    return env


def _takes_render_mode(env):
    """Whether a callable may be given `render_mode`."""
    parameters = inspect.signature(env).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    return "render_mode" in parameters or inspect.Parameter.VAR_KEYWORD in kinds
