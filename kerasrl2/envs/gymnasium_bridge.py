"""Gymnasium environments inside a TensorFlow graph."""

import gymnasium
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2.envs._lockstep import Lockstep
from kerasrl2.envs.core import Environment
from kerasrl2.types import TimeStep


class GymnasiumEnvironment(Environment):
    """`N` Gymnasium environments, stepped in Python within one graph operation.

    Observations in a `Box` keep shape and dtype (float64 becomes float32), those in a
    `Discrete` space are `[N]` int32. Actions are elements of the action space: from
    `start` upwards for `Discrete`, unclipped for `Box`.

    The environments hold their own state. `state` is a number that `step` checks: it
    must come from the latest `reset` or `step`. Exceptions in the environments' code
    arrive as `EnvironmentFailure`, from a graph with the help of `errors`.

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

    always_valid = True

    def __init__(self, env, num_envs=1, **kwargs):
        check_positive_integer("num_envs", num_envs)
        envs = _build(env, num_envs, kwargs)
        id = _name(env, envs[0])
        super().__init__(id, num_envs, envs[0].observation_space, envs[0].action_space)
        self._lockstep = Lockstep(id, envs)

    @property
    def envs(self):
        """Tuple of the `gymnasium.Env`s, to look at or to render."""
        return self._lockstep.envs

    def reset(self, seed):
        shape, dtype = self._shape(), self._lockstep.observation.dtype
        return self._call(
            self._lockstep.reset,
            [seed],
            [tf.TensorSpec([], tf.int32), tf.TensorSpec(shape, dtype)],
        )

    def step(self, state, action, seed):
        """Takes one step in each environment, which need no `seed` any more."""
        shape, dtype = self._shape(), self._lockstep.observation.dtype
        observations, outcome = self._call(
            self._lockstep.step,
            [state, self._checked_action(action)],
            [tf.TensorSpec([2, *shape], dtype), tf.TensorSpec([3, self.num_envs])],
        )
        with tf.control_dependencies([outcome]):
            state = state + 1
        current, following = tf.unstack(observations)
        reward, terminated, truncated = tf.unstack(outcome)
        return state, TimeStep(
            observation=current,
            next_observation=following,
            reward=reward,
            terminated=terminated > 0,
            truncated=truncated > 0,
            valid=tf.ones([self.num_envs], tf.bool),
        )

    def close(self):
        self._lockstep.close()

    def _shape(self):
        """Of a batch of observations."""
        return [self.num_envs, *self._lockstep.observation.shape]

    def _call(self, function, inputs, specs):
        """Runs `function` on arrays, at once or as an operation of the graph."""
        if tf.executing_eagerly():
            values = function(*(tf.convert_to_tensor(x).numpy() for x in inputs))
            return tuple(tf.constant(value) for value in values)

        def guarded(*arrays):
            try:
                return function(*arrays)
            except BaseException as error:  # an interrupt must come back as one
                self.failure = error
                raise

        values = tf.numpy_function(guarded, inputs, [spec.dtype for spec in specs])
        for value, spec in zip(values, specs, strict=True):
            value.set_shape(spec.shape)
        return tuple(values)


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
