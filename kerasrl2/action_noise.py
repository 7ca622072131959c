"""Noise that explores around the actions of deterministic policies."""

import kerasrl2._startup  # noqa: F401

import keras
import tensorflow as tf

from kerasrl2._numbers import Number
from kerasrl2.distributions.sampling import normal, shape_of
from kerasrl2.schedules import deserialize_schedule, serialize_schedule, value_at

__all__ = ["ActionNoise", "GaussianNoise", "OrnsteinUhlenbeckNoise"]


@keras.saving.register_keras_serializable(package="kerasrl2")
class ActionNoise:
    """Base class; no noise. Noise may have a state, which episodes begin anew.

    Example:
    >>> ActionNoise().initial_state(num_envs=8, size=2)
    ()
    """

    def initial_state(self, num_envs, size):
        """The state at the start of episodes, `[N, D]` float32, or `()` for none."""
        del num_envs, size
        return ()

    def next_state(self, state, seed):
        """The state of the next step.

        Args:
            state: From `initial_state` or the step before.
            seed: `[2]` int32, stateless seed.
        """
        del seed
        return state

    def __call__(self, action, state, env_steps, seed):
        """Actions with noise, `[N, D]` float32, clipped to [-1, 1].

        Args:
            action: `[N, D]` float32, with bounds -1 and 1.
            state: From `next_state`.
            env_steps: Scalar int64, the argument of schedules.
            seed: `[2]` int32, stateless seed.
        """
        del state, env_steps, seed
        return action

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**{k: deserialize_schedule(value) for k, value in config.items()})


@keras.saving.register_keras_serializable(package="kerasrl2")
class GaussianNoise(ActionNoise):
    """Independent normal noise; section 5.2 of https://arxiv.org/abs/1802.09477.

    Args:
        stddev: Float >= 0, in units of half the action's range, or a Keras schedule
            over env steps.

    Example:
    >>> GaussianNoise(0.0)(tf.constant([[0.5]]), (), 0, [0, 0]).numpy().tolist()
    [[0.5]]
    """

    stddev = Number(0.0, schedule=True)

    def __init__(self, stddev=0.1):
        self.stddev = stddev

    def __call__(self, action, state, env_steps, seed):
        del state
        stddev = tf.cast(value_at(self.stddev, env_steps), action.dtype)
        noise = stddev * normal(shape_of(action), seed, action.dtype)
        return tf.clip_by_value(action + noise, -1.0, 1.0)

    def get_config(self):
        return {"stddev": serialize_schedule(self.stddev)}


@keras.saving.register_keras_serializable(package="kerasrl2")
class OrnsteinUhlenbeckNoise(ActionNoise):
    """Noise that wanders and returns to 0, correlated from step to step.

    Uhlenbeck and Ornstein (1930), https://doi.org/10.1103/PhysRev.36.823, as in section
    7 of Lillicrap et al. (2016), https://arxiv.org/abs/1509.02971:
    `x <- x - theta x dt + sigma sqrt(dt) N(0, 1)`, from 0 at the start of each episode.

    Args:
        theta: Float >= 0, how fast it returns, per unit of time.
        sigma: Float >= 0, in units of half the action's range, or a Keras schedule over
            env steps; it scales the noise that is added.
        dt: Float > 0, units of time in a step.

    Example:
    >>> noise = OrnsteinUhlenbeckNoise(sigma=0.5)
    >>> state = noise.initial_state(num_envs=1, size=2) + 1.0
    >>> noise(tf.constant([[0.0, 0.9]]), state, 0, [0, 0]).numpy().tolist()
    [[0.5, 1.0]]
    """

    theta = Number(0.0)
    sigma = Number(0.0, schedule=True)
    dt = Number(0.0, open_low=True)

    def __init__(self, theta=0.15, sigma=0.2, dt=0.01):
        self.theta, self.sigma, self.dt = theta, sigma, dt

    def initial_state(self, num_envs, size):
        return tf.zeros([num_envs, size])

    def next_state(self, state, seed):
        # Of unit size: a schedule of sigma scales it where it is added.
        dt = tf.cast(self.dt, state.dtype)
        step = tf.sqrt(dt) * normal(shape_of(state), seed, state.dtype)
        return state - tf.cast(self.theta, state.dtype) * dt * state + step

    def __call__(self, action, state, env_steps, seed):
        del seed
        sigma = tf.cast(value_at(self.sigma, env_steps), action.dtype)
        return tf.clip_by_value(action + sigma * state, -1.0, 1.0)

    def get_config(self):
        sigma = serialize_schedule(self.sigma)
        return {"theta": self.theta, "sigma": sigma, "dt": self.dt}
