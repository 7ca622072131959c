"""Gymnasium environments inside a TensorFlow graph."""

import gymnasium
import tensorflow as tf  # noqa: F401  (the example below)

from kerasrl2._checks import check_positive_integer
from kerasrl2.envs._lockstep import Lockstep
from kerasrl2.envs._python import PythonEnvironment


class GymnasiumEnvironment(PythonEnvironment):
    """`N` Gymnasium environments, stepped in Python by one operation of a graph.

    Observations in a `Box` keep shape and dtype (float64 becomes float32), those in a
    `Discrete` space are `[N]` int32. Actions are elements of the action space: from
    `start` upwards for `Discrete`, unclipped for `Box`.

    The environments hold their own state. `state` is a number that `step` checks: it
    must come from the latest `reset` or `step`. Exceptions in the environments' code
    arrive as `EnvironmentFailure`, from a graph with the help of `errors`. A program of
    XLA cannot be left half way: there rewards are NaN from a failure on, until `errors`
    raises it.

    Args:
        env: String, an id that `gymnasium.make` knows; or a callable that returns a new
            `gymnasium.Env` each time; or one `gymnasium.Env`.
        num_envs: Integer >= 1, the number of environments `N`; 1 for a `gymnasium.Env`.
        **kwargs: Passed to `gymnasium.make` or to the callable.

    Example:
    >>> env = GymnasiumEnvironment("CartPole-v1", num_envs=2)
    >>> state, observation = env.reset(tf.constant([0, 1]))
    >>> state, time_step = env.step(state, tf.constant([1, 0]), tf.constant([0, 2]))
    >>> time_step.reward.numpy().tolist()
    [1.0, 1.0]
    >>> env.close()
    """

    def __init__(self, env, num_envs=1, **kwargs):
        check_positive_integer("num_envs", num_envs)
        envs = _build(env, num_envs, kwargs)
        id = _name(env, envs[0])
        super().__init__(
            id,
            num_envs,
            envs[0].observation_space,
            envs[0].action_space,
            world=Lockstep(id, envs),
        )

    @property
    def envs(self):
        """Tuple of the `gymnasium.Env`s, to look at or to render."""
        return self._world.envs


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
    for made in envs:
        if not isinstance(made, gymnasium.Env):
            raise ValueError(
                f"Expected {env} to return a `gymnasium.Env`. Received: {made!r}"
            )
    if len({id(made) for made in envs}) != num_envs:
        raise ValueError(
            f"Expected {env} to return a new environment at each call. "
            "Received: the same one twice"
        )
    for made in envs:
        for space in ("observation_space", "action_space"):
            if getattr(made, space) != getattr(envs[0], space):
                raise ValueError(
                    f"Expected environments with one `{space}`. Received: "
                    f"{getattr(envs[0], space)} and {getattr(made, space)}"
                )
    return envs


def _name(env, first):
    if isinstance(env, str):
        return env
    return first.spec.id if first.spec else type(first.unwrapped).__name__
