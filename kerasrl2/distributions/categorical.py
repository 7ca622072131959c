"""Distributions over discrete actions."""

import math

import keras
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2.distributions.bounds import is_discrete
from kerasrl2.distributions.head import PolicyHead
from kerasrl2.distributions.sampling import shape_of, uniform


@keras.saving.register_keras_serializable(package="kerasrl2")
class Categorical(PolicyHead):
    """One of `A` discrete actions; the parameters are unnormalised log-probabilities.

    A logit of -inf excludes an action. `log_prob` of an action outside `0 .. A - 1` is
    NaN.

    Args:
        num_actions: Integer >= 1, `A`.
        start: Integer, the environment's number of action 0.

    Example:
    >>> head = Categorical(num_actions=2, start=5)
    >>> logits = tf.math.log([[0.75, 0.25]])
    >>> round(float(head.entropy(logits)[0]), 6)
    0.562335
    >>> int(head.to_env(head.mode(logits))[0])
    5
    """

    kind, action_shape, action_dtype = "categorical", (), "int32"

    def __init__(self, num_actions, start=0):
        check_positive_integer("num_actions", num_actions)
        self.num_actions, self.start = int(num_actions), int(start)
        self.num_parameters = self.num_actions

    def distribution(self, parameters):
        import tensorflow_probability as tfp

        return tfp.distributions.Categorical(logits=self._check(parameters))

    def sample(self, parameters, seed):
        probabilities = tf.nn.softmax(self._check(parameters))
        # Inverse distribution function: a quarter of the time of Gumbel noise.
        cumulative = tf.cumsum(probabilities, axis=-1)
        draw = uniform(shape_of(parameters)[:-1], seed, cumulative.dtype)
        passed = cumulative[..., :-1] <= draw[..., None] * cumulative[..., -1:]
        return tf.reduce_sum(tf.cast(passed, tf.int32), axis=-1)

    def mode(self, parameters):
        return tf.argmax(self._check(parameters), axis=-1, output_type=tf.int32)

    def log_prob(self, parameters, action):
        logits, action = self._check(parameters, action)
        taken = tf.cast(action, tf.int32)[..., None] == tf.range(self.num_actions)
        chosen = tf.where(taken, tf.nn.log_softmax(logits), tf.zeros_like(logits))
        chosen = tf.reduce_sum(chosen, axis=-1)
        nan = tf.constant(math.nan, logits.dtype)
        return tf.where(tf.reduce_any(taken, axis=-1), chosen, nan)

    def entropy(self, parameters):
        log_p = tf.nn.log_softmax(self._check(parameters))
        return -tf.reduce_sum(tf.exp(log_p) * _finite(log_p, log_p), axis=-1)

    def kl(self, parameters, other_parameters):
        log_p = tf.nn.log_softmax(self._check(parameters))
        log_q = tf.nn.log_softmax(self._check(other_parameters))
        difference = _finite(log_p, log_p) - _finite(log_p, log_q)
        return tf.reduce_sum(tf.exp(log_p) * difference, axis=-1)

    def to_env(self, action):
        return tf.convert_to_tensor(action) + self.start

    def from_env(self, action):
        return tf.cast(tf.convert_to_tensor(action), tf.int32) - self.start

    def random(self, n, seed):
        """Uniformly random actions, `[n]` int32: `sample` with equal logits."""
        return self.sample(tf.zeros([n, self.num_actions]), seed)

    def fits(self, space):
        if not is_discrete(space):
            return False
        return (int(space.n), int(space.start)) == (self.num_actions, self.start)

    def get_config(self):
        return {"num_actions": self.num_actions, "start": self.start}


def _finite(log_p, x):
    """`x`, but 0 where `log_p` is -inf: `0 * log 0` is 0, and so is its gradient."""
    return tf.where(tf.math.is_finite(log_p), x, tf.zeros_like(x))
