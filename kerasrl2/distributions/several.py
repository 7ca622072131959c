"""Distributions over several discrete actions at once."""

import math

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2.distributions.categorical import Categorical
from kerasrl2.distributions.head import PolicyHead
from kerasrl2.distributions.sampling import shape_of, uniform


class _Several(PolicyHead):
    """Heads of `D` integers, flat here, in `shape` outside."""

    action_dtype = "int32"

    def __init__(self, number, shape):
        self.shape = (number,) if shape is None else tuple(int(n) for n in shape)
        self.action_shape = (number,)
        if math.prod(self.shape) != number:
            raise ValueError(
                f"Expected `shape` of {number} elements. Received: shape={self.shape}"
            )

    def to_env(self, action):
        action = tf.convert_to_tensor(action)
        return tf.reshape(action, tf.concat([tf.shape(action)[:-1], self.shape], 0))

    def from_env(self, action):
        action = tf.cast(tf.convert_to_tensor(action), tf.int32)
        lead = action.shape.rank - len(self.shape)
        if lead < 0 or tuple(action.shape[lead:]) != self.shape:
            raise ValueError(
                f"Expected actions of the environment of shape [..., "
                f"{', '.join(map(str, self.shape))}]. Received: {tuple(action.shape)}"
            )
        return tf.reshape(action, tf.concat([tf.shape(action)[:lead], [-1]], 0))


@keras.saving.register_keras_serializable(package="kerasrl2")
class MultiCategorical(_Several):
    """`D` independent discrete actions, each with a number of choices of its own.

    For Gymnasium's `MultiDiscrete`. The parameters are the unnormalised
    log-probabilities of all choices in a row, those of the first action first; -inf
    excludes a choice. `log_prob` of a choice that an action does not have is NaN.

    Args:
        sizes: Sequence of `D` integers >= 1, choices of each action.
        starts: Sequence of `D` integers, the environment's names of the choices 0; None
            are zeros.
        shape: Tuple, the shape of the environment's actions; None is `(D,)`.

    Example:
    >>> head = MultiCategorical([2, 3])
    >>> head.num_parameters
    5
    >>> head.mode([[0.0, 1.0, 0.0, 0.0, 2.0]]).numpy().tolist()
    [[1, 2]]
    """

    kind = "multi_categorical"

    def __init__(self, sizes, starts=None, shape=None):
        self.sizes = [int(size) for size in sizes]
        if not self.sizes:
            raise ValueError("Expected at least one action. Received: sizes=[]")
        for size in self.sizes:
            check_positive_integer("sizes", size)
        super().__init__(len(self.sizes), shape)
        self.starts = (
            [0] * len(self.sizes) if starts is None else list(map(int, starts))
        )
        if len(self.starts) != len(self.sizes):
            raise ValueError(
                f"Expected `starts` of {len(self.sizes)} integers. Received: {starts}"
            )
        self.num_parameters = sum(self.sizes)
        self._each = Categorical(max(self.sizes))

    def distribution(self, parameters):
        import tensorflow_probability as tfp

        each = tfp.distributions.Categorical(logits=self._logits(parameters))
        return tfp.distributions.Independent(each, 1)

    def sample(self, parameters, seed):
        return self._each.sample(self._logits(parameters), seed)

    def mode(self, parameters):
        return self._each.mode(self._logits(parameters))

    def log_prob(self, parameters, action):
        parameters, action = self._check(parameters, action)
        log_prob = self._each.log_prob(self._logits(parameters), action)
        known = tf.cast(action, tf.int32) < tf.constant(self.sizes)
        nan = tf.constant(math.nan, log_prob.dtype)
        return tf.reduce_sum(tf.where(known, log_prob, nan), axis=-1)

    def entropy(self, parameters):
        return tf.reduce_sum(self._each.entropy(self._logits(parameters)), axis=-1)

    def kl(self, parameters, other_parameters):
        logits = self._logits(parameters), self._logits(other_parameters)
        return tf.reduce_sum(self._each.kl(*logits), axis=-1)

    def to_env(self, action):
        return super().to_env(tf.convert_to_tensor(action) + tf.constant(self.starts))

    def from_env(self, action):
        return super().from_env(action) - tf.constant(self.starts)

    def random(self, n, seed):
        """Uniformly random actions, `[n, D]` int32: a `sample` of equal logits."""
        return self.sample(tf.zeros([n, self.num_parameters]), seed)

    def fits(self, space):
        if not hasattr(space, "nvec") or tuple(space.shape) != self.shape:
            return False
        starts = getattr(space, "start", np.zeros_like(space.nvec))
        return (np.ravel(space.nvec).tolist(), np.ravel(starts).tolist()) == (
            self.sizes,
            self.starts,
        )

    def get_config(self):
        return {"sizes": self.sizes, "starts": self.starts, "shape": list(self.shape)}

    def _logits(self, parameters):
        """`[..., P]` to `[..., D, K]`: -inf for choices that an action lacks."""
        parameters, most = self._check(parameters), max(self.sizes)
        rows = [
            tf.pad(
                row,
                [[0, 0]] * (parameters.shape.rank - 1) + [[0, most - row.shape[-1]]],
                constant_values=-math.inf,
            )
            for row in tf.split(parameters, self.sizes, axis=-1)
        ]
        return tf.stack(rows, axis=-2)


@keras.saving.register_keras_serializable(package="kerasrl2")
class Bernoulli(_Several):
    """`D` independent switches; the parameters are the logits of 1 against 0.

    For Gymnasium's `MultiBinary`. `log_prob` of what is neither 0 nor 1 is NaN. A
    logit of -inf or inf is a switch that cannot be turned.

    Args:
        size: Integer >= 1, `D`.
        shape: Tuple, the shape of the environment's actions; None is `(D,)`.

    Example:
    >>> head = Bernoulli(2)
    >>> head.mode([[0.5, -0.5]]).numpy().tolist()
    [[1, 0]]
    >>> round(float(head.kl([[0.3, 1.0]], [[0.65, 1.0]])[0]), 7)
    0.0146452
    """

    kind = "bernoulli"

    def __init__(self, size, shape=None):
        check_positive_integer("size", size)
        super().__init__(int(size), shape)
        self.size = self.num_parameters = int(size)

    def distribution(self, parameters):
        import tensorflow_probability as tfp

        each = tfp.distributions.Bernoulli(logits=self._check(parameters))
        return tfp.distributions.Independent(each, 1)

    def sample(self, parameters, seed):
        chance = tf.sigmoid(self._check(parameters))
        draw = uniform(shape_of(chance), seed, chance.dtype)
        return tf.cast(draw < chance, tf.int32)

    def mode(self, parameters):
        return tf.cast(self._check(parameters) > 0.0, tf.int32)

    def log_prob(self, parameters, action):
        logits, action = self._check(parameters, action)
        one = tf.equal(action, tf.ones_like(action))
        log_prob = -tf.nn.softplus(tf.where(one, -logits, logits))
        nan = tf.constant(math.nan, logits.dtype)
        known = one | tf.equal(action, tf.zeros_like(action))
        return tf.reduce_sum(tf.where(known, log_prob, nan), axis=-1)

    def entropy(self, parameters):
        logits = self._check(parameters)
        return -_expected(logits, logits)

    def kl(self, parameters, other_parameters):
        logits, other = self._pair(parameters, other_parameters)
        return _expected(logits, logits) - _expected(logits, other)

    def random(self, n, seed):
        """Uniformly random actions, `[n, D]` int32: a `sample` of logits 0."""
        return self.sample(tf.zeros([n, self.size]), seed)

    def fits(self, space):
        binary = hasattr(space, "n") and not hasattr(space, "start")
        return binary and tuple(space.shape) == self.shape

    def get_config(self):
        return {"size": self.size, "shape": list(self.shape)}


def _expected(logits, other):
    """`sum_d E[log q(a_d)]` with `a` of `logits` and `q` of `other`, `[...]`."""
    chance = tf.sigmoid(logits)
    terms = [
        tf.where(
            p > 0.0, -p * tf.nn.softplus(tf.where(p > 0.0, sign * other, 0.0)), 0.0
        )
        for p, sign in ((chance, -1.0), (1.0 - chance, 1.0))
    ]
    return tf.reduce_sum(terms[0] + terms[1], axis=-1)
