"""Distributions over continuous actions."""

import math

import keras
import numpy as np
import tensorflow as tf

from kerasrl2.distributions.bounds import Bounds
from kerasrl2.distributions.head import PolicyHead
from kerasrl2.distributions.sampling import gamma, normal, shape_of


@keras.saving.register_keras_serializable(package="kerasrl2")
class DiagonalGaussian(PolicyHead):
    """Independent normals; parameters: all means, then all log standard deviations.

    `to_env` is `centre + half width * action`, clipped to the bounds; in a dimension
    that lacks a bound it is `action`, clipped to the other one. `log_prob` is that of
    the action before clipping. Log standard deviations are clipped to [-20, 5] and have
    no gradient outside. `sample` is reparameterised: gradients flow to the parameters.

    Args:
        low: Sequence of `D` floats, the environment's; -inf or None if unbounded.
        high: Sequence of `D` floats; inf or None if unbounded.
        shape: Tuple or None, the shape of the environment's action, default `(D,)`.
        dtype: String or None, what `to_env` returns: `"float16"`, `"float32"` or
            `"float64"`. None takes float32 if it holds the bounds exactly.

    Example:
    >>> head = DiagonalGaussian(low=[-1.0], high=[3.0])
    >>> head.to_env([[0.0], [9.0]]).numpy().tolist()
    [[1.0], [3.0]]
    >>> round(float(head.log_prob([[0.0, 0.0]], [[0.0]])[0]), 6)
    -0.918939
    """

    log_std_range = (-20.0, 5.0)

    kind = "gaussian"

    def __init__(self, low, high, shape=None, dtype=None):
        self.bounds = Bounds(low, high, shape, dtype)
        self.action_shape = (self.bounds.size,)
        self.num_parameters = 2 * self.bounds.size

    def distribution(self, parameters):
        mean, log_std = self._mean_and_log_std(parameters)
        return _tfd().MultivariateNormalDiag(mean, tf.exp(log_std))

    def sample(self, parameters, seed):
        mean, log_std = self._mean_and_log_std(parameters)
        return mean + tf.exp(log_std) * normal(shape_of(mean), seed, mean.dtype)

    def mode(self, parameters):
        return self._mean_and_log_std(parameters)[0]

    def log_prob(self, parameters, action):
        parameters, action = self._check(parameters, action)
        mean, log_std = self._mean_and_log_std(parameters)
        z = (tf.cast(action, mean.dtype) - mean) * tf.exp(-log_std)
        constant = 0.5 * math.log(2.0 * math.pi)
        return -tf.reduce_sum(0.5 * z**2 + log_std + constant, axis=-1)

    def entropy(self, parameters):
        _, log_std = self._mean_and_log_std(parameters)
        return tf.reduce_sum(log_std + 0.5 * math.log(2.0 * math.pi * math.e), axis=-1)

    def kl(self, parameters, other_parameters):
        parameters, other_parameters = self._pair(parameters, other_parameters)
        mean, log_std = self._mean_and_log_std(parameters)
        other_mean, other_log_std = self._mean_and_log_std(other_parameters)
        z = (mean - other_mean) * tf.exp(-other_log_std)
        shift = log_std - other_log_std
        return tf.reduce_sum(0.5 * (tf.exp(2 * shift) - 1 + z**2) - shift, axis=-1)

    def to_env(self, action):
        return self.bounds.from_centred(action)

    def from_env(self, action):
        """Standardised actions, not clipped: an action outside the box stays outside.

        `to_env` clips to the bounds; for an action at a bound this is that bound.
        """
        return self.bounds.to_centred(action)

    def log_stretch(self):
        return self.bounds.log_stretch()

    def random(self, n, seed):
        """Random actions, `[n, D]`: uniform in dimensions with two bounds.

        Elsewhere as `gymnasium.spaces.Box` draws: exponential of scale 1 from a single
        bound on, else standard normal.
        """
        return self.bounds.random_centred(n, seed)

    def fits(self, space):
        return self.bounds.match(space)

    def get_config(self):
        return self.bounds.get_config()

    def _mean_and_log_std(self, parameters):
        mean, log_std = tf.split(self._check(parameters), 2, axis=-1)
        return mean, tf.clip_by_value(log_std, *self.log_std_range)


@keras.saving.register_keras_serializable(package="kerasrl2")
class SquashedGaussian(DiagonalGaussian):
    """A diagonal Gaussian `u` whose tanh, scaled to the bounds, is the action.

    Appendix C of Haarnoja et al. (2018), https://arxiv.org/abs/1801.01290. `sample`,
    `mode` (of `u`) and `log_prob` take and give `u`, so that tanh is never inverted.
    `log_prob` is the density of `tanh(u)`:
    `sum log N(u) - 2 (log 2 - u - softplus(-2u))`, finite at saturation. `entropy` is
    that of `tanh(u)` by Gauss-Hermite quadrature with 32 nodes, not by sampling: wrong
    by less than 1e-6 nats per dimension where the standard deviation is at most 1, by
    2e-3 at 2.7 and by 0.08 at 7.4. `kl` is that of `u`: a bijection does not change a
    KL divergence. Log standard deviations are clipped to [-20, 2].

    Args:
        low: Sequence of `D` finite floats, the environment's bounds.
        high: Sequence of `D` finite floats.
        shape: Tuple or None, the shape of the environment's action, default `(D,)`.
        dtype: String or None, what `to_env` returns: `"float16"`, `"float32"` or
            `"float64"`. None takes float32 if it holds the bounds exactly.

    Example:
    >>> head = SquashedGaussian(low=[-1.0], high=[3.0])
    >>> head.to_env([[0.0], [99.0]]).numpy().tolist()
    [[1.0], [3.0]]
    """

    log_std_range = (-20.0, 2.0)

    kind = "squashed_gaussian"

    def __init__(self, low, high, shape=None, dtype=None):
        super().__init__(low, high, shape, dtype)
        self.bounds.check_finite(type(self).__name__)

    def distribution(self, parameters):
        """The distribution of `tanh(u)`; its `log_prob` takes `tanh(u)`, not `u`."""
        import tensorflow_probability as tfp

        return tfp.distributions.TransformedDistribution(
            super().distribution(parameters), tfp.bijectors.Tanh()
        )

    def log_prob(self, parameters, action):
        base = super().log_prob(parameters, action)
        u = tf.cast(tf.convert_to_tensor(action), base.dtype)
        return base - tf.reduce_sum(_log_tanh_slope(u), axis=-1)

    def entropy(self, parameters):
        mean, log_std = self._mean_and_log_std(parameters)
        nodes, weights = np.polynomial.hermite_e.hermegauss(32)
        nodes = tf.constant(nodes, mean.dtype)
        weights = tf.constant(weights / weights.sum(), mean.dtype)
        u = mean[..., None] + tf.exp(log_std)[..., None] * nodes  # [..., D, 32]
        slope = tf.reduce_sum(_log_tanh_slope(u) * weights, axis=(-2, -1))
        return super().entropy(parameters) + slope

    def centred(self, action):
        """Actions with bounds -1 and 1: `tanh(u)`. Gradients flow to `action`."""
        return tf.tanh(action)

    def to_env(self, action):
        return self.bounds.from_centred(self.centred(action))

    def from_env(self, action):
        """Actions before tanh; at the bounds and outside +-8.66, the limit of float32.

        A rounding error of 6e-8 in `tanh(u)` is an error of 6e-8 in `u` near 0 and of
        0.1 near 8.
        """
        return _inverse_tanh(self.bounds.to_centred(action))

    def random(self, n, seed):
        return _inverse_tanh(self.bounds.random_centred(n, seed))


@keras.saving.register_keras_serializable(package="kerasrl2")
class Beta(PolicyHead):
    """Independent Beta distributions on bounded intervals, with a single peak each.

    Chou, Maturana and Scherer (2017), https://proceedings.mlr.press/v70/chou17a.html:
    `alpha, beta = 1 + softplus(parameters)`, all alphas first. `to_env` is
    `low + (high - low) * action`. `sample` is exact (Marsaglia and Tsang, 2000,
    https://doi.org/10.1145/358407.358414) up to clipping to (0, 1), and gives no
    gradient to the parameters.

    Args:
        low: Sequence of `D` finite floats, the environment's bounds.
        high: Sequence of `D` finite floats.
        shape: Tuple or None, the shape of the environment's action, default `(D,)`.
        dtype: String or None, what `to_env` returns: `"float16"`, `"float32"` or
            `"float64"`. None takes float32 if it holds the bounds exactly.

    Example:
    >>> head = Beta(low=[0.0], high=[4.0])
    >>> head.to_env(head.mode([[1.0, 1.0]])).numpy().tolist()
    [[2.0]]
    """

    kind = "beta"

    def __init__(self, low, high, shape=None, dtype=None):
        self.bounds = Bounds(low, high, shape, dtype)
        self.bounds.check_finite(type(self).__name__)
        self.action_shape = (self.bounds.size,)
        self.num_parameters = 2 * self.bounds.size

    def distribution(self, parameters):
        alpha_beta = tf.split(self._concentrations(parameters), 2, axis=-1)
        return _tfd().Independent(_tfd().Beta(*alpha_beta), 1)

    def sample(self, parameters, seed):
        gammas = gamma(tf.stop_gradient(self._concentrations(parameters)), seed)
        x, y = tf.split(gammas, 2, axis=-1)
        return _inside_unit_interval(x / (x + y))

    def mode(self, parameters):
        excess = tf.nn.softplus(self._check(parameters)) + 1e-12  # concentration - 1
        a, b = tf.split(excess, 2, axis=-1)
        return _inside_unit_interval(a / (a + b))

    def log_prob(self, parameters, action):
        parameters, action = self._check(parameters, action)
        a, b = tf.split(self._concentrations(parameters), 2, axis=-1)
        action = tf.cast(action, a.dtype)
        log_density = (a - 1.0) * tf.math.log(action) + (b - 1.0) * tf.math.log1p(
            -action
        )
        return tf.reduce_sum(log_density - _log_beta(a, b), axis=-1)

    def entropy(self, parameters):
        a, b = tf.split(self._concentrations(parameters), 2, axis=-1)
        digamma = tf.math.digamma
        terms = (a - 1.0) * digamma(a) + (b - 1.0) * digamma(b)
        terms = _log_beta(a, b) - terms + (a + b - 2.0) * digamma(a + b)
        return tf.reduce_sum(terms, axis=-1)

    def kl(self, parameters, other_parameters):
        parameters, other_parameters = self._pair(parameters, other_parameters)
        a, b = tf.split(self._concentrations(parameters), 2, axis=-1)
        c, d = tf.split(self._concentrations(other_parameters), 2, axis=-1)
        digamma = tf.math.digamma
        terms = _log_beta(c, d) - _log_beta(a, b)
        terms += (a - c) * digamma(a) + (b - d) * digamma(b)
        return tf.reduce_sum(terms + (c + d - a - b) * digamma(a + b), axis=-1)

    def to_env(self, action):
        return self.bounds.from_centred(2.0 * tf.convert_to_tensor(action) - 1.0)

    def from_env(self, action):
        """Actions in (0, 1); at the bounds and outside 2**-24 or 1 - 2**-24."""
        return _inside_unit_interval(0.5 * self.bounds.to_centred(action) + 0.5)

    def log_stretch(self):
        return self.bounds.log_stretch() + self.bounds.size * math.log(2.0)

    def random(self, n, seed):
        centred = self.bounds.random_centred(n, seed)
        return _inside_unit_interval(0.5 * centred + 0.5)

    def fits(self, space):
        return self.bounds.match(space)

    def get_config(self):
        return self.bounds.get_config()

    def _concentrations(self, parameters):
        return 1.0 + tf.nn.softplus(self._check(parameters))


def _tfd():
    import tensorflow_probability as tfp

    return tfp.distributions


def _log_tanh_slope(u):
    """`log(1 - tanh(u)**2)` without cancellation."""
    return 2.0 * (math.log(2.0) - u - tf.nn.softplus(-2.0 * u))


def _inverse_tanh(y):
    """Inverse hyperbolic tangent in float32 of `y`, clipped to just within +-1."""
    y = tf.clip_by_value(y, 2.0**-24 - 1.0, 1.0 - 2.0**-24)
    return 0.5 * (tf.math.log1p(y) - tf.math.log1p(-y))


def _inside_unit_interval(x):
    """Clips to just within (0, 1): at 0 and 1 a density may be 0 or infinite."""
    return tf.clip_by_value(x, 2.0**-24, 1.0 - 2.0**-24)


def _log_beta(a, b):
    return tf.math.lgamma(a) + tf.math.lgamma(b) - tf.math.lgamma(a + b)
