"""Exploration strategies of agents that act on action values."""

import kerasrl2._startup  # noqa: F401

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._numbers import Number
from kerasrl2.distributions.masks import random_legal
from kerasrl2.distributions.sampling import shape_of, uniform
from kerasrl2.schedules import deserialize_schedule, serialize_schedule, value_at

__all__ = ["Boltzmann", "EpsilonGreedy", "EpsilonLadder", "Exploration", "Greedy"]


class Exploration:
    """Base class; acts greedily. A subclass overrides `__call__`.

    Example:
    >>> import tensorflow as tf
    >>> Exploration()(tf.constant([[1.0, 3.0, 2.0]]), [0, 0], 0).numpy().tolist()
    [1]
    """

    def __call__(self, q_values, env_steps, seed, legal=None):
        """Actions `[N]` int32.

        Args:
            q_values: `[N, A]` float32, in units of return; very low (`masks.ILLEGAL`)
                where an action is not legal.
            env_steps: Scalar int64, the argument of schedules.
            seed: `[2]` int32, stateless seed.
            legal: `[N, A]` bool, in environments with action masks; else None. An agent
                gives it only to what takes it, and takes the greedy action in place of
                one that is not legal.
        """
        del env_steps, seed, legal
        return tf.argmax(q_values, axis=-1, output_type=tf.int32)

    def check(self, num_envs):
        """Raises `ValueError` unless it can explore in `num_envs` environments."""
        del num_envs

    def logs(self, env_steps):
        """Dictionary of floats for the logs: the present amount of exploration."""
        del env_steps
        return {}

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable(package="kerasrl2")
class Greedy(Exploration):
    """The action of the largest value; for noisy networks, which explore by themselves.

    Example:
    >>> Greedy()(tf.constant([[1.0, 2.0]]), 0, [0, 0]).numpy().tolist()
    [1]
    """


@keras.saving.register_keras_serializable(package="kerasrl2")
class EpsilonGreedy(Exploration):
    """A uniformly random action with probability epsilon, else the greedy one.

    Algorithm 1 of Mnih et al. (2015), https://doi.org/10.1038/nature14236.

    Args:
        epsilon: Float in [0, 1], a Keras schedule over env steps, or a sequence of `N`
            floats, one for each environment of training. Where there are not `N` rows,
            as when `act` gets one observation or `evaluate` plays in other copies, each
            row has their mean: as much is explored as in training, on average.

    Example:
    >>> EpsilonGreedy(0.0)(tf.constant([[1.0, 2.0]]), 0, [0, 0]).numpy().tolist()
    [1]
    """

    epsilon = Number(0.0, 1.0, schedule=True, several=True)

    def __init__(self, epsilon=0.05):
        self.epsilon = epsilon

    def __call__(self, q_values, env_steps, seed, legal=None):
        num_actions = q_values.shape[-1]
        shape = tf.concat([[2], shape_of(q_values)[:-1]], axis=0)
        chance, draw = tf.unstack(uniform(shape, seed, tf.float32))
        # The draw is below 1, but its product with the number may round to the number.
        random_action = tf.cast(draw * num_actions, tf.int32)
        random_action = tf.minimum(random_action, num_actions - 1)
        if legal is not None:
            random_action = random_legal(legal, draw)
        greedy = super().__call__(q_values, env_steps, seed)
        epsilon = self.epsilons(shape_of(q_values)[-2], env_steps)
        return tf.where(chance < epsilon, random_action, greedy)

    def epsilons(self, rows, env_steps):
        """Epsilon of each row, `[rows]` float32, or a scalar for all.

        Args:
            rows: Scalar integer.
            env_steps: Scalar int64.
        """
        epsilon = tf.cast(value_at(self.epsilon, env_steps), tf.float32)
        if epsilon.shape.rank == 1:
            fits = tf.equal(rows, epsilon.shape[0])
            # Gathered, not `tf.where` alone: XLA needs one shape for both.
            each = tf.gather(epsilon, tf.range(rows) % epsilon.shape[0])
            epsilon = tf.where(fits, each, tf.reduce_mean(epsilon))
        return epsilon

    def check(self, num_envs):
        several = np.shape(self.epsilon)
        if several and several != (num_envs,):
            raise ValueError(
                f"Expected one `epsilon`, or one for each of the {num_envs} "
                f"environments. Received: {several[0]}. Choose as many, or another "
                "`num_envs`."
            )

    def logs(self, env_steps):
        epsilon = tf.cast(value_at(self.epsilon, env_steps), tf.float32)
        return {"epsilon": float(tf.reduce_mean(epsilon))}

    def get_config(self):
        return {"epsilon": serialize_schedule(self.epsilon)}

    @classmethod
    def from_config(cls, config):
        return cls(deserialize_schedule(config["epsilon"]))


@keras.saving.register_keras_serializable(package="kerasrl2")
class EpsilonLadder(EpsilonGreedy):
    """Epsilon-greedy, each environment with an epsilon of its own that never changes.

    Section 4.1 of Horgan et al. (2018), https://arxiv.org/abs/1803.00933: that of
    environment `i` of `N` is `base ** (1 + alpha * i / (N - 1))`; with one alone it is
    `base`. With workers the environments of all of them are counted.

    Args:
        base: Float in (0, 1].
        alpha: Float >= 0.
        first: Integer >= 0, environments before these.
        total: Integer or None, environments in all; None: these alone.

    Example:
    >>> epsilons = EpsilonLadder().epsilons(8, 0)
    >>> [round(float(epsilon), 5) for epsilon in epsilons][:5]
    [0.4, 0.16, 0.064, 0.0256, 0.01024]
    """

    base = Number(0.0, 1.0, open_low=True)
    alpha = Number(0.0)

    def __init__(self, base=0.4, alpha=7.0, first=0, total=None):
        self.base, self.alpha = base, alpha
        self.first, self.total = first, total

    def epsilons(self, rows, env_steps):
        del env_steps
        total = rows if self.total is None else self.total
        last = tf.cast(tf.maximum(total - 1, 1), tf.float32)
        place = tf.cast(self.first + tf.range(rows), tf.float32) / last
        return tf.cast(self.base, tf.float32) ** (1.0 + self.alpha * place)

    def take_place(self, slot, workers, num_envs):
        """From now on explores in a worker's environments, of those of all.

        Args:
            slot: Integer, which worker, from 0.
            workers: Integer, how many there are.
            num_envs: Integer, environments of each.
        """
        self.first, self.total = slot * num_envs, workers * num_envs

    def check(self, num_envs):
        del num_envs  # any number

    def logs(self, env_steps):
        del env_steps  # each environment has its own
        return {}

    def get_config(self):
        return {
            "base": self.base,
            "alpha": self.alpha,
            "first": self.first,
            "total": self.total,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable(package="kerasrl2")
class Boltzmann(Exploration):
    """Samples from the softmax of the action values over a temperature.

    Section 2.3 of Sutton and Barto (1998), https://doi.org/10.1109/TNN.1998.712192.

    Args:
        temperature: Float > 0, in units of return, or a Keras schedule over env steps.

    Example:
    >>> values = tf.constant([[0.0, 10.0]])
    >>> Boltzmann(temperature=0.1)(values, 0, [0, 0]).numpy().tolist()
    [1]
    """

    temperature = Number(0.0, open_low=True, schedule=True)

    def __init__(self, temperature=1.0):
        self.temperature = temperature

    def __call__(self, q_values, env_steps, seed, legal=None):
        del legal  # their probability is 0
        temperature = tf.cast(value_at(self.temperature, env_steps), tf.float32)
        probabilities = tf.nn.softmax(q_values / tf.maximum(temperature, 1e-8))
        cumulative = tf.cumsum(probabilities, axis=-1)
        draw = uniform(shape_of(q_values)[:-1], seed, tf.float32)
        passed = cumulative[..., :-1] <= draw[..., None] * cumulative[..., -1:]
        return tf.reduce_sum(tf.cast(passed, tf.int32), axis=-1)

    def logs(self, env_steps):
        return {"temperature": float(value_at(self.temperature, env_steps))}

    def get_config(self):
        return {"temperature": serialize_schedule(self.temperature)}

    @classmethod
    def from_config(cls, config):
        return cls(deserialize_schedule(config["temperature"]))
