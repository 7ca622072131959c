"""Gymnasium environments, called from TensorFlow graphs."""

import gymnasium
import tensorflow as tf  # noqa: F401  (the example below)

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.envs._lockstep import Lockstep
from kerasrl2.envs._python import PythonEnvironment
from kerasrl2.envs._spaces import check_equal_spaces
from kerasrl2.envs._subprocess import ProcessLockstep


class GymnasiumEnvironment(PythonEnvironment):
    """`N` Gymnasium environments, stepped in Python by one operation of a graph.

    Observations in a `Box` keep shape and dtype (float64 becomes float32), those in a
    `Discrete` space are `[N]` int32. Actions are elements of the action space: from
    `start` upwards for `Discrete`, unclipped for `Box`.

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
        if subprocess:
            world = _processes(env, num_envs, time_limit, kwargs)
        elif time_limit is None:
            envs = _build(env, num_envs, kwargs)
            world = Lockstep(_name(env, envs[0]), envs)
        else:
            raise ValueError(
                "Expected `subprocess=True` with a time limit: only another process "
                f"can be ended. Received: time_limit={time_limit}"
            )
        first = world.envs[0]
        super().__init__(
            world.id, num_envs, first.observation_space, first.action_space, world=world
        )

    @property
    def envs(self):
        """Tuple of the `gymnasium.Env`s, for inspection or rendering.

        With `subprocess`, of proxies for those in the processes, which cannot render.
        """
        return self._world.envs


def _processes(env, num_envs, time_limit, kwargs):
    if isinstance(env, gymnasium.Env):
        raise ValueError(
            "Expected an id or a callable that returns a new environment, to make it "
            f"in another process. Received: the environment {env}"
        )
    check_range("time_limit", time_limit, 0.0, open_low=True)
    return ProcessLockstep(env, num_envs, time_limit, kwargs)


def _build(env, num_envs, kwargs):
    """List of `num_envs` environments with equal spaces."""
    if isinstance(env, gymnasium.Env):
        if num_envs != 1 or kwargs:
            raise ValueError(
                "Expected an id or a callable that returns a new environment, to make "
                f"several or to pass keywords. Received: the environment {env} with "
                f"num_envs={num_envs}, keywords {sorted(kwargs)}"
            )
        return [env]
    if isinstance(env, str):
        kwargs = {"disable_env_checker": True, **kwargs}
        envs = [gymnasium.make(env, **kwargs) for _ in range(num_envs)]
    else:
        envs = [env(**kwargs) for _ in range(num_envs)]
    for copy in envs:
        if not isinstance(copy, gymnasium.Env):
            raise ValueError(
                f"Expected {env} to return a `gymnasium.Env`. Received: {copy!r}"
            )
    if len(set(map(id, envs))) != num_envs:
        raise ValueError(
            f"Expected {env} to return a new environment at each call. "
            "Received: the same one twice"
        )
    check_equal_spaces(envs)
    return envs


def _name(env, first):
    if isinstance(env, str):
        return env
    return first.spec.id if first.spec else type(first.unwrapped).__name__
