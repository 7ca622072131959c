"""Gymnasium environments, called from TensorFlow graphs."""

import contextlib
import warnings

import gymnasium
import tensorflow as tf  # noqa: F401  (the example below)

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2._memory import check_room
from kerasrl2.envs._interface import advice, is_single
from kerasrl2.envs._lockstep import Lockstep
from kerasrl2.envs._python import PythonEnvironment
from kerasrl2.envs._spaces import check_equal_spaces, texts, without_text
from kerasrl2.envs._subprocess import ProcessLockstep

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
            `gymnasium.Env` each time; or one `gymnasium.Env`.
        num_envs: Integer >= 1, the number of environments `N`; 1 for a `gymnasium.Env`.
        subprocess: Boolean, whether each runs in a separate process, all in parallel;
            not for one `gymnasium.Env`. A callable is sent there by cloudpickle: its
            module must be importable there, unless it is the main script.
        time_limit: Float > 0, seconds that a step or a reset of all `N` may take, or
            None; needs `subprocess`. If they take longer, or a process ends,
            `EnvironmentFailure` is raised and all processes are ended.
        **kwargs: Passed to `gymnasium.make` or to the callable.

    Example:
    >>> env = GymnasiumEnvironment("CartPole-v1", num_envs=2)
    >>> state, observation = env.reset(tf.constant([0, 1]))
    >>> state, time_step = env.step(state, tf.constant([1, 0]), tf.constant([0, 2]))
    >>> time_step.reward.numpy().tolist()
    [1.0, 1.0]
    >>> env.close()
    """

    def __init__(self, env, num_envs=1, *, subprocess=False, time_limit=None, **kwargs):
        check_positive_integer("num_envs", num_envs)
        size = num_envs * (_PROCESS if subprocess else _OBJECT)
        check_room("num_envs", num_envs, size, f"so many of {_shown(env)}")
        if subprocess:
            world = _processes(env, num_envs, time_limit, kwargs)
        elif time_limit is None:
            world = _in_this_process(env, num_envs, kwargs)
        else:
            raise ValueError(
                "Expected `subprocess=True` with a time limit: only another process "
                f"can be ended. Received: time_limit={time_limit}"
            )
        observation_space = _seen(world.envs[0].observation_space)
        action_space = world.envs[0].action_space
        super().__init__(
            world.id, num_envs, observation_space, action_space, world=world
        )

    @property
    def envs(self):
        """Tuple of the `gymnasium.Env`s, for inspection or rendering.

        With `subprocess`, of proxies for those in the processes, which cannot render.
        """
        return self._world.envs

    @property
    def max_episode_steps(self):
        """Integer, the time limit in steps of the first one's wrappers, or None."""
        env = self.envs[0]
        while env is not None:
            limit = getattr(env, "_max_episode_steps", None)
            if isinstance(limit, int):
                return limit
            env = vars(env).get("env")
        return None


def _seen(observation_space):
    """The space of what agents see; warns of what they do not."""
    for text in texts(observation_space):
        warnings.warn(
            f"The text `{text}` is left out: networks take numbers. If agents need it, "
            "encode it as numbers by `gymnasium.wrappers.TransformObservation`.",
            stacklevel=4,
        )
    return without_text(observation_space)


def _processes(env, num_envs, time_limit, kwargs):
    if isinstance(env, gymnasium.Env):
        raise ValueError(
            "Expected an id or a callable that returns a new environment, to make it "
            f"in another process. Received: the environment {env}"
        )
    check_range("time_limit", time_limit, 0.0, open_low=True)
    return ProcessLockstep(env, num_envs, time_limit, kwargs)


def _in_this_process(env, num_envs, kwargs):
    """`Lockstep` of environments with equal spaces; of none if one cannot be used."""
    if isinstance(env, gymnasium.Env):
        _check_alone(env, num_envs, kwargs)
        check_equal_spaces([env])
        return Lockstep(_name(env, env), [env])
    made = []
    try:
        for _ in range(num_envs):
            made.append(_make(env, kwargs))
            _check_made(env, made)
        check_equal_spaces(made)
        return Lockstep(_name(env, made[0]), made)
    except BaseException:
        for one in made:
            with contextlib.suppress(Exception):  # the first exception tells more
                one.close()
        raise


def _check_alone(env, num_envs, kwargs):
    if not is_single(env):
        raise ValueError(
            "Expected an id, a callable that returns a new environment, or one "
            f"environment. Received: {_shown(env)}{advice(env)}"
        )
    if num_envs != 1 or kwargs:
        raise ValueError(
            "Expected an id or a callable that returns a new environment, to make "
            f"several or to pass keywords. Received: the environment {env} with "
            f"num_envs={num_envs}, keywords {sorted(kwargs)}"
        )


def _make(env, kwargs):
    if isinstance(env, str):
        return gymnasium.make(env, **{"disable_env_checker": True, **kwargs})
    return env(**kwargs)


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
