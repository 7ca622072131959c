"""Gymnasium environments, called from TensorFlow graphs."""

import contextlib
import functools
import warnings

import gymnasium
import tensorflow as tf  # noqa: F401  (the example below)

from kerasrl2._checks import check_choice, check_positive_integer, check_range
from kerasrl2._memory import check_room
from kerasrl2.envs._interface import Preferred, advice, is_batched, is_single
from kerasrl2.envs._keywords import keywords_explained
from kerasrl2.envs._lockstep import Lockstep
from kerasrl2.envs._python import PythonEnvironment
from kerasrl2.envs._spaces import check_equal_spaces, texts
from kerasrl2.envs._subprocess import ProcessLockstep
from kerasrl2.envs._vector import VectorWorld
from kerasrl2.envs._wrapping import prepared, resolved, wrapped

VECTORIZATIONS = "sync", "async", "vector_entry_point"
# Bytes of one environment at least: its objects and random generators; a process.
_OBJECT, _PROCESS = 4_000, 10_000_000


class GymnasiumEnvironment(PythonEnvironment):
    """`N` Gymnasium environments, stepped in Python by one operation of a graph.

    Observations in a `Box` keep shape and dtype (float64 becomes float32); those in a
    `Discrete` space are `[N]` int32, from `start` upwards, as are the integers of
    `MultiDiscrete`; `MultiBinary` ones are int8. For `Dict` and `Tuple` spaces they are
    nests of such arrays. A text in a `Dict` is left out, with a warning: agents do not
    see it. Actions are elements of the action space: from `start` upwards for
    `Discrete`, unclipped for `Box`.

    The environments hold their own state. `state` is a number that `step` checks: it
    must come from the latest `reset` or `step`. Exceptions in the environments' code
    become `EnvironmentFailure`, in a graph with the help of `errors`. They cannot end a
    program of XLA: there rewards are NaN from a failure on, until `errors` raises it.

    Args:
        env: String, an id that `gymnasium.make` knows; or a callable that returns a new
            `gymnasium.Env` each time; or one `gymnasium.Env`; or a `VectorEnv`, also
            one of EnvPool, or a callable that returns one.
        num_envs: Integer >= 1, the number of environments `N`; None means 1, or as many
            as a `VectorEnv` has. Another number than this is an error.
        subprocess: Boolean, whether each runs in a separate process, all in parallel;
            for an id or a callable that returns a `gymnasium.Env`. A callable is sent
            there by cloudpickle: its module must be importable there, unless it is the
            main script.
        time_limit: Float > 0, seconds that a step or a reset of all `N` may take, or
            None; needs `subprocess`. If they take longer, or a process ends,
            `EnvironmentFailure` is raised and all processes are ended.
        vectorization: String, `"sync"`, `"async"` or `"vector_entry_point"`, to make an
            id by `gymnasium.make_vec`, or by the first two `VectorEnv`s of what a
            callable returns; None makes `N` environments that are stepped here one
            after another, which is faster than `"sync"`.
        wrappers: List, what is put around each environment, the innermost first, as
            for `envs.make`. Not for vector environments.
        **kwargs: Passed to `gymnasium.make`, `gymnasium.make_vec` or the callable.

    Attributes:
        always_valid: Boolean, False for a `VectorEnv` whose autoreset mode is
            `NEXT_STEP`: the row after the end of an episode is no transition there.

    Example:
    >>> env = GymnasiumEnvironment("CartPole-v1", num_envs=2)
    >>> state, observation = env.reset(tf.constant([0, 1]))
    >>> state, time_step = env.step(state, tf.constant([1, 0]), tf.constant([0, 2]))
    >>> time_step.reward.numpy().tolist()
    [1.0, 1.0]
    >>> env.close()
    """

    def __init__(
        self, env, num_envs=None, *, subprocess=False, time_limit=None,
        vectorization=None, wrappers=(), **kwargs
    ):  # fmt: skip
        if num_envs is not None:
            check_positive_integer("num_envs", num_envs)
            size = num_envs * (_PROCESS if subprocess else _OBJECT)
            check_room("num_envs", num_envs, size, f"so many of {_shown(env)}")
        _check_alternatives(env, subprocess, time_limit, vectorization)
        _check_one_by_one(env, vectorization, wrappers)
        if is_batched(env):
            _check_own(env, num_envs, kwargs)
            world = VectorWorld(env)
        elif isinstance(env, gymnasium.Env):
            _check_alone(env, num_envs, kwargs)
            (alone,) = made = [wrapped(lambda: env, wrappers)()]
            check_equal_spaces(made)
            world = Lockstep(_name(env, alone), made)
        else:
            with keywords_explained(env, kwargs, vectorization):
                if subprocess:
                    world = ProcessLockstep(
                        env, num_envs or 1, time_limit, kwargs, wrappers
                    )
                elif vectorization is not None:
                    world = _world_of(
                        _make_vec(env, num_envs or 1, vectorization, kwargs, wrappers)
                    )
                else:
                    world = _made(env, num_envs, kwargs, wrappers)
        for text in texts(world.observation_space):
            warnings.warn(
                f"The text `{text}` is left out: networks take numbers. If agents need "
                "it, encode it as numbers by "
                "`gymnasium.wrappers.TransformObservation`.",
                stacklevel=3,
            )
        super().__init__(world.id, world)

    @property
    def envs(self):
        """Tuple of the `gymnasium.Env`s, for inspection or rendering.

        With `subprocess`, of proxies for those in the processes, which cannot render;
        or only the `VectorEnv`.
        """
        return self._world.envs

    @property
    def max_episode_steps(self):
        """Integer, the time limit of the first one in steps, or None."""
        return self._world.max_episode_steps


def _check_alternatives(env, subprocess, time_limit, vectorization):
    """Raises where settings do not fit each other or `env`."""
    if vectorization is not None:
        check_choice("vectorization", vectorization, VECTORIZATIONS)
    made_here = isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv)
    by_id = vectorization == "vector_entry_point" and not isinstance(env, str)
    if vectorization is not None and (subprocess or made_here or by_id):
        raise ValueError(
            "Expected an id or, with 'sync' and 'async', a callable that returns a new "
            "environment, and no `subprocess`, with `vectorization`: Gymnasium makes a "
            f"vector environment of it. Received: {_shown(env)}, vectorization="
            f"{vectorization!r}, subprocess={subprocess}"
        )
    if subprocess and made_here:
        raise ValueError(
            "Expected an id or a callable that returns a new environment, to make it "
            f"in another process. Received: the environment {env}"
        )
    if time_limit is not None and not subprocess:
        raise ValueError(
            "Expected `subprocess=True` with a time limit: only another process "
            f"can be ended. Received: time_limit={time_limit}"
        )
    check_range("time_limit", time_limit, 0.0, open_low=True)


def _check_one_by_one(env, vectorization, wrappers):
    """Raises where there is no single environment to put wrappers around."""
    if not wrappers:
        return
    names = ", ".join(name for name, _ in resolved(wrappers))
    if vectorization == "vector_entry_point":
        raise ValueError(
            "Expected no `wrappers` with vectorization='vector_entry_point', which "
            f"makes no single environments. Received: {names}. Choose 'sync' "
            "or 'async', or leave one of both out."
        )
    if is_batched(env):
        raise ValueError(
            f"Expected no `wrappers` with a vector environment. Received: {names} for "
            f"{_shown(env)}. Put them around its environments "
            "when it is made, or use those of `gymnasium.wrappers.vector`."
        )


def _check_own(vector, num_envs, kwargs=()):
    """Raises where a `VectorEnv` is to be another one than it is."""
    wish = num_envs is None or isinstance(num_envs, Preferred)
    if kwargs or not (wish or num_envs == vector.num_envs):
        raise ValueError(
            f"Expected no other settings than those of the vector environment {vector}"
            f", which has num_envs={vector.num_envs}. Received: num_envs={num_envs}, "
            f"keywords {sorted(kwargs)}. Leave them out, or make another one."
        )


def _check_alone(env, num_envs, kwargs):
    if num_envs not in (None, 1) or kwargs:
        raise ValueError(
            "Expected an id or a callable that returns a new environment, to make "
            f"several or to pass keywords. Received: the environment {env} with "
            f"num_envs={num_envs}, keywords {sorted(kwargs)}"
        )


def _made(env, num_envs, kwargs, wrappers):
    """The world of what an id or a callable makes; of none if one cannot be used."""
    make = wrapped(_make, wrappers)
    made = [make(env, kwargs)]
    if is_batched(made[0]):
        return _world_of(made[0], num_envs)
    try:
        _check_made(env, made)
        for _ in range((num_envs or 1) - 1):
            made.append(make(env, kwargs))
            _check_made(env, made)
        check_equal_spaces(made)
        return Lockstep(_name(env, made[0]), made)
    except BaseException:
        for one in made:
            with contextlib.suppress(Exception):  # the first exception tells more
                one.close()
        raise


def _world_of(vector, num_envs=None):
    """The world of a vector environment made here, which is closed if it fails."""
    try:
        _check_own(vector, num_envs)
        return VectorWorld(vector)
    except BaseException:
        with contextlib.suppress(Exception):
            vector.close()
        raise


def _make(env, kwargs):
    if isinstance(env, str):
        return gymnasium.make(env, **{"disable_env_checker": True, **kwargs})
    return env(**kwargs)


def _make_vec(id, num_envs, vectorization, kwargs, wrappers):
    """The `VectorEnv` of an id or a callable, which Gymnasium steps."""
    if not isinstance(id, str):
        kind = "SyncVectorEnv" if vectorization == "sync" else "AsyncVectorEnv"
        made = wrapped(functools.partial(_make_single, id, kwargs), wrappers)
        mode = gymnasium.vector.AutoresetMode.SAME_STEP
        return getattr(gymnasium.vector, kind)([made] * num_envs, autoreset_mode=mode)
    defaults = {"wrappers": prepared(wrappers)} if wrappers else {}
    if vectorization != "vector_entry_point":
        # All rows are transitions in this mode.
        settings = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
        settings |= kwargs.get("vector_kwargs", {})
        defaults |= {"disable_env_checker": True, "vector_kwargs": settings}
    keywords = {**kwargs, **defaults}
    try:
        return gymnasium.make_vec(id, num_envs, vectorization, **keywords)
    except gymnasium.error.Error as error:
        if "vector entry point" not in str(error):
            raise
        raise ValueError(
            f"Expected an id with a `vector_entry_point`. Received: {id!r}, which has "
            "none. Leave `vectorization` out, or choose 'sync' or 'async'."
        ) from error


def _make_single(env, kwargs):
    made = env(**kwargs)
    _check_made(env, [made])
    return made


def _check_made(env, made):
    """Checks the latest of those that `env` returned."""
    latest = made[-1]
    if not is_single(latest):
        raise ValueError(
            f"Expected {env} to return a `gymnasium.Env`. Received: "
            f"{_shown(latest)}{advice(latest)}"
        )
    if any(latest.unwrapped is other.unwrapped for other in made[:-1]):
        raise ValueError(
            f"Expected {env} to return a new environment at each call. "
            "Received: the same one twice"
        )


def _shown(env):
    """An object in a message."""
    return f"{env!r:.200}"


def _name(env, first):
    if isinstance(env, str):
        return env
    return first.spec.id if first.spec else type(first.unwrapped).__name__
