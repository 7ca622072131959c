"""Makes environments by their ids."""

import contextlib
import functools
import importlib
import inspect

import gymnasium

from kerasrl2._checks import check_choice, did_you_mean
from kerasrl2.envs._interface import advice, is_batched, is_single
from kerasrl2.envs._keywords import keywords_explained
from kerasrl2.envs._wrapping import resolved, wrapped
from kerasrl2.envs.atari import (
    AtariEnvironment,
    settings_of_games,
    single_game,
)
from kerasrl2.envs.classic_control.acrobot import Acrobot
from kerasrl2.envs.classic_control.cartpole import CartPole
from kerasrl2.envs.classic_control.mountain_car import (
    MountainCar,
    MountainCarContinuous,
)
from kerasrl2.envs.classic_control.pendulum import Pendulum
from kerasrl2.envs.core import Environment
from kerasrl2.envs.exact import Chain, Endless
from kerasrl2.envs.goals import BitFlip
from kerasrl2.envs.grid.breakout import GridBreakout
from kerasrl2.envs.grid.space_invaders import GridSpaceInvaders
from kerasrl2.envs.gymnasium_bridge import GymnasiumEnvironment

_FACTORIES = {
    "Acrobot-v1": Acrobot,
    "BitFlip-15": BitFlip,
    "CartPole-v0": functools.partial(CartPole, id="CartPole-v0", max_episode_steps=200),
    "CartPole-v1": CartPole,
    "CartPoleNoVel-v1": functools.partial(
        CartPole, id="CartPoleNoVel-v1", velocities=False
    ),
    "Chain-5": Chain,
    "Endless-1": Endless,
    "GridBreakout-v0": GridBreakout,
    "GridSpaceInvaders-v0": GridSpaceInvaders,
    "MountainCar-v0": MountainCar,
    "MountainCarContinuous-v0": MountainCarContinuous,
    "Pendulum-v1": Pendulum,
}

# Extras to install, by a part of the id or of its entry point.
_INSTALL = {
    "ALE/": "kerasrl2[atari]",
    "NoFrameskip": "kerasrl2[atari]",
    "mujoco": "kerasrl2[mujoco]",
    "box2d": "kerasrl2[box2d]",
    "toy_text": "gymnasium[toy-text]",
    "phys2d": "gymnasium[jax]",
    "tabular": "gymnasium[jax]",
}
_LISTS = (
    "`kerasrl2 list environments` and `gymnasium.pprint_registry()` name them; one of "
    "another package is 'module:id'"
)
_UNKNOWN = gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv


def ids():
    """Sorted ids of the environments in TensorFlow, those registered here.

    >>> ids()[:3]
    ['Acrobot-v1', 'BitFlip-15', 'CartPole-v0']
    """
    return sorted(_FACTORIES)


def register(id, factory):
    """Makes `make(id)` return what `factory` builds.

    Args:
        id: String, not registered here before.
        factory: Callable that takes the keyword `num_envs` (and those of `make`), and
            returns an `Environment`. For a `gymnasium.Env` use `gymnasium.register`.
    """
    if id in _FACTORIES:
        raise ValueError(f"Expected an id not in use yet. Received: {id!r}")
    _FACTORIES[id] = factory


def is_recipe(env):
    """Whether environments are made from `env`: an id or a callable."""
    made = isinstance(env, Environment | gymnasium.Env | gymnasium.vector.VectorEnv)
    return isinstance(env, str) or (callable(env) and not made)


def make(env, num_envs=None, backend="auto", vectorization=None, wrappers=(), **kwargs):
    """An `Environment` of `num_envs` copies.

    Args:
        env: String, an id of this library or of Gymnasium (`"module:id"` imports the
            module first); or a callable that returns a new `gymnasium.Env` each time;
            or one `gymnasium.Env`; or a `gymnasium.vector.VectorEnv`, also one of
            EnvPool, or a callable that returns one; or an `Environment`, which is
            returned unchanged.
        num_envs: Integer >= 1, the number of copies; None means that of a given
            `Environment` or `VectorEnv`, else 1.
        backend: String, `"tensorflow"`, `"gymnasium"`, or `"auto"`: the TensorFlow
            version if there is one, `AtariEnvironment` for `"ALE/..."`.
        vectorization: String, `"sync"`, `"async"` or `"vector_entry_point"`: Gymnasium
            makes a vector environment of an id, or with the first two of what a
            callable returns. None: copies are stepped one after another.
        wrappers: List, what is put around each single environment, the innermost first:
            names of `gymnasium.wrappers` or `"module:name"`, pairs such as
            `("FrameStackObservation", {"stack_size": 4})`, or callables from one
            `gymnasium.Env` to another. Wrappers, like `vectorization`, imply
            `backend="gymnasium"`.
        **kwargs: Passed to the environment's constructor, such as `max_episode_steps`;
            for Gymnasium also `subprocess` and `time_limit`, see
            `GymnasiumEnvironment`.

    Returns:
        `Environment`.

    Example:
    >>> env = make("CartPole-v1", num_envs=8)
    >>> env.in_graph, env.observation_space.shape
    (True, (4,))
    >>> make("CartPole-v1", backend="gymnasium").in_graph
    False
    >>> make("CartPole-v1", wrappers=["TimeAwareObservation"]).observation_space.shape
    (5,)
    """
    made = _made(env, num_envs, backend, vectorization, wrappers, kwargs)
    if is_recipe(env):
        how = {"backend": backend, "vectorization": vectorization, "wrappers": wrappers}
        made.made_by = functools.partial(make, env, num_envs, **how, **kwargs)
    return made


def _made(env, num_envs, backend, vectorization, wrappers, kwargs):
    check_choice("backend", backend, ("auto", "tensorflow", "gymnasium"))
    how = {} if vectorization is None else {"vectorization": vectorization}
    how |= {"wrappers": wrappers} if wrappers else {}
    if isinstance(env, Environment):
        return _check_given(env, num_envs, backend, {**kwargs, **how})
    if not (isinstance(env, str | gymnasium.Env) or is_batched(env) or callable(env)):
        raise ValueError(
            "Expected an id, a callable, a `gymnasium.Env`, a `VectorEnv` or an "
            f"`Environment`. Received: env={env!r:.200}{advice(env)}"
        )
    if how:
        _check_in_gymnasium(env, backend, how)
        how |= {"wrappers": resolved(wrappers)} if wrappers else {}
        backend, kwargs = "gymnasium", {**kwargs, **how}
    if backend == "tensorflow" and env not in ids():
        raise ValueError(
            f"Expected an id with a TensorFlow version: {', '.join(ids())}. "
            f"Received: env={env!r}{did_you_mean(env, ids())}"
        )
    if not isinstance(env, str):
        return GymnasiumEnvironment(env, num_envs, **kwargs)
    if backend != "gymnasium" and env in _FACTORIES:
        return _from_factory(env, 1 if num_envs is None else num_envs, kwargs)
    if backend != "gymnasium" and _is_game(env):
        return _from_atari(env, 1 if num_envs is None else num_envs, kwargs)
    return _from_gymnasium(env, num_envs, backend, kwargs)


def _check_given(env, num_envs, backend, kwargs):
    wrong_backend = backend != "auto" and env.in_graph != (backend == "tensorflow")
    if num_envs not in (None, env.num_envs) or wrong_backend or kwargs:
        raise ValueError(
            f"Expected no other settings than those {env.id} was made with: "
            f"num_envs={env.num_envs}. "
            f"Received: num_envs={num_envs}, backend={backend!r}, {kwargs}"
        )
    return env


def _check_in_gymnasium(env, backend, how):
    ours = isinstance(env, str) and env in _FACTORIES and env not in gymnasium.registry
    if backend == "tensorflow" or ours:
        raise ValueError(
            f"Expected an environment of Gymnasium with {' and '.join(how)}: those in "
            f"TensorFlow take none. Received: env={env!r}, backend={backend!r}, {how}"
        )


def _from_factory(id, num_envs, kwargs):
    factory = _FACTORIES[id]
    try:
        inspect.signature(factory).bind(num_envs=num_envs, **kwargs)
    except TypeError as error:
        known = list(inspect.signature(factory).parameters)
        unknown = [name for name in kwargs if name not in known]
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise ValueError(
            f"Expected keywords that the TensorFlow version of {id} knows ({error}). "
            f"Received: {kwargs}{hint or '.'} Gymnasium's version may know them: "
            'backend="gymnasium"'
        ) from None
    env = factory(num_envs=num_envs, **kwargs)
    if not isinstance(env, Environment):
        raise ValueError(
            f"Expected the factory of {id} to return an `Environment`. "
            f"Received: {env!r}"
        )
    return env


def make_single(env, backend="auto", wrappers=(), **kwargs):
    """One `gymnasium.Env`, for instance to render it (`render_mode="rgb_array"`).

    Its observations are those of `make` with the same arguments.

    Args:
        env: String, an id of Gymnasium; a callable that returns a `gymnasium.Env`; or
            one `gymnasium.Env`, which is returned unchanged.
        backend: String; `"gymnasium"` is Gymnasium's own version of `"ALE/..."`.
        wrappers: List, as for `make`.
        **kwargs: Passed to the environment's constructor.

    Returns:
        `gymnasium.Env`.

    Example:
    >>> env = make_single("CartPole-v1", render_mode="rgb_array")
    >>> env.reset(seed=0)[0].shape
    (4,)
    """
    if wrappers:
        wrappers = resolved(wrappers)
        single = make_single(env, "gymnasium", **kwargs)
        try:
            return wrapped(lambda: single, wrappers)()
        except BaseException:
            if single is not env:
                single.close()
            raise
    if isinstance(env, str):
        with _explained(env, "gymnasium"), keywords_explained(env, kwargs):
            if backend != "gymnasium" and _is_game(env):
                return single_game(env, **kwargs)
            return gymnasium.make(env, **{"disable_env_checker": True, **kwargs})
    given = isinstance(env, gymnasium.Env)
    if given and kwargs:
        raise ValueError(
            "Expected an id or a callable that returns a new environment, to pass "
            f"keywords. Received: the environment {env} with {sorted(kwargs)}"
        )
    single = env if given or not callable(env) else env(**kwargs)
    if not is_single(single):
        raise ValueError(
            "Expected an id, a callable that returns a `gymnasium.Env`, or a "
            f"`gymnasium.Env`. Received: {single!r:.200}{advice(single)}"
        )
    return single


def _is_game(id):
    return id.startswith("ALE/")


def _from_atari(id, num_envs, kwargs):
    settings_of_games(id, kwargs)
    with _explained(id, "auto"):
        return AtariEnvironment(id, num_envs, **kwargs)


def _from_gymnasium(id, num_envs, backend, kwargs):
    with _explained(id, backend):
        return GymnasiumEnvironment(id, num_envs, **kwargs)


@contextlib.contextmanager
def _explained(id, backend):
    """Adds advice to errors of making `id`: packages to install, similar ids."""
    if id not in gymnasium.registry and _extra(id) == "kerasrl2[atari]":
        try:
            importlib.import_module("ale_py")  # registers the Atari games
        except ImportError:
            raise _missing(id, "kerasrl2[atari]") from None
    try:
        yield
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        extra = _extra(id)
        if extra is None:
            raise
        raise _missing(id, extra) from error
    except gymnasium.error.Error as error:
        if id in gymnasium.registry and not isinstance(error, _UNKNOWN):
            raise
        raise _unknown(id, backend, str(error)) from None


def _unknown(id, backend, reason):
    known = {*gymnasium.registry, *(ids() if backend == "auto" else ())}
    reason = reason.split(" Did you mean")[0].rstrip(".")
    owners = "this library or of Gymnasium" if backend == "auto" else "Gymnasium"
    return ValueError(
        f"Expected an id of {owners}. Received: env={id!r}. {reason}"
        f"{did_you_mean(id, sorted(known)) or f'. {_LISTS}'}"
    )


def _extra(id):
    """The extra to install for an id, or None."""
    entry_point = getattr(gymnasium.registry.get(id), "entry_point", None)
    place = f"{id} {entry_point}" if isinstance(entry_point, str) else id
    return next((extra for part, extra in _INSTALL.items() if part in place), None)


def _missing(id, extra):
    return ImportError(f'{id} needs a missing package: pip install "{extra}"')
