"""Exploration by noise that is a function of the state (gSDE)."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2.distributions.continuous import DiagonalGaussian
from kerasrl2.distributions.sampling import normal, shape_of

_SMALLEST = 1e-6  # added to variances


@keras.saving.register_keras_serializable(package="kerasrl2")
class StateDependentGaussian(DiagonalGaussian):
    """A diagonal Gaussian whose noise is the same function of the state for some steps.

    Generalized state-dependent exploration, section 3 of Raffin et al. (2021),
    https://arxiv.org/abs/2005.05719: the noise is `sum_f z_f sigma_f,d epsilon_f,d`
    with features `z` of the state, and `epsilon` drawn anew every `noise_steps` steps
    only: similar states get similar noise, which moves smoothly and far. Density and
    entropy are those of a single step, `N(mean, sum_f (z sigma)^2)`.

    Parameters: `D` means, then the `F x D` products `z_f sigma_f,d`
    (`layers.StateDependentNoise`). Else as `DiagonalGaussian`.

    Args:
        low: Sequence of `D` floats, the environment's; -inf or None if unbounded.
        high: Sequence of `D` floats; inf or None if unbounded.
        shape: Tuple or None, the shape of the environment's action, default `(D,)`.
        dtype: String or None, what `to_env` returns; see `DiagonalGaussian`.
        num_features: Integer >= 1, `F`.
        noise_steps: Integer >= 1, for how many steps of a rollout `epsilon` is kept.

    Example:
    >>> head = StateDependentGaussian([-1.0], [1.0], num_features=2)
    >>> parameters = [[0.5, 0.6, 0.8]]  # mean; a deviation of 1
    >>> round(float(head.entropy(parameters)[0]), 4)
    1.4189
    """

    kind = "gsde"

    def __init__(
        self, low, high, shape=None, dtype=None, num_features=64, noise_steps=4
    ):
        super().__init__(low, high, shape, dtype)
        check_positive_integer("num_features", num_features)
        check_positive_integer("noise_steps", noise_steps)
        self.num_features, self.noise_steps = num_features, noise_steps
        self.num_parameters = self.bounds.size * (1 + num_features)

    def sample(self, parameters, seed):
        """Actions; the same `seed` draws the same `epsilon` for other states."""
        mean, factors = self._mean_and_factors(parameters)
        epsilon = normal(shape_of(factors), seed, mean.dtype)
        return mean + tf.reduce_sum(factors * epsilon, axis=-2)

    def get_config(self):
        own = {"num_features": self.num_features, "noise_steps": self.noise_steps}
        return {**super().get_config(), **own}

    def _mean_and_factors(self, parameters):
        """`[..., D]` and `[..., F, D]`."""
        parameters, size = self._check(parameters), self.bounds.size
        shape = tf.concat(
            [tf.shape(parameters)[:-1], [self.num_features, size]], axis=0
        )
        factors = tf.reshape(parameters[..., size:], shape)
        lead = parameters.shape[:-1].as_list()
        factors.set_shape([*lead, self.num_features, size])
        return parameters[..., :size], factors

    def _mean_and_log_std(self, parameters):
        mean, factors = self._mean_and_factors(parameters)
        variance = tf.reduce_sum(factors**2, axis=-2) + _SMALLEST
        log_std = 0.5 * tf.math.log(variance)
        return mean, tf.clip_by_value(log_std, *self.log_std_range)
