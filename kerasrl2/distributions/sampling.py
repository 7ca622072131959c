"""Random numbers that are the same in every run mode.

Philox draws the same integers in eager, graph and XLA mode, but XLA's versions of
`tf.random.stateless_uniform` and `stateless_normal` convert them to other floats. So
they are converted here.
"""

import math

import tensorflow as tf


def shape_of(x):
    """The static shape if it is fully known, else a tensor."""
    return x.shape if x.shape.is_fully_defined() else tf.shape(x)


def uniform(shape, seed, dtype):
    """Draws from the open interval (0, 1).

    Args:
        shape: Shape of the result, static or a tensor.
        seed: `[2]` int, stateless seed.
        dtype: `tf.float32` (2**23 different values) or `tf.float64` (2**31).

    Returns:
        Tensor of `shape`.

    Example:
    >>> bool(0.0 < uniform([], [0, 1], tf.float32) < 1.0)
    True
    """
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg="philox")
    digits = 23 if dtype == tf.float32 else 31
    bits = tf.bitwise.right_shift(bits, tf.constant(32 - digits, tf.uint32))
    return (tf.cast(tf.cast(bits, tf.int32), dtype) + 0.5) * 2.0**-digits


def normal(shape, seed, dtype):
    """Standard normal draws, at most 5.3 from 0 in float32. Arguments as `uniform`."""
    return normal_of(uniform(shape, seed, dtype))


def normal_of(draw):
    """Turns uniform draws from (0, 1) into standard normal ones (inverse method)."""
    return math.sqrt(2.0) * tf.math.erfinv(2.0 * draw - 1.0)


def gamma(concentration, seed):
    """Gamma draws of scale 1.

    Marsaglia and Tsang (2000), https://doi.org/10.1145/358407.358414, without their
    boost for concentrations below 1. XLA cannot compile `tf.random.stateless_gamma`.
    Gives no gradient.

    Args:
        concentration: `[...]` float >= 1.
        seed: `[2]` int, stateless seed.

    Returns:
        `[...]` float.
    """
    d = concentration - 1.0 / 3.0
    c = tf.math.rsqrt(9.0 * d)
    shape, dtype = shape_of(concentration), concentration.dtype

    def propose(i, accepted, draw):
        normal_seed, uniform_seed = tf.unstack(
            tf.random.split(tf.random.fold_in(seed, i, alg="philox"), 2, alg="philox")
        )
        x = normal(shape, normal_seed, dtype)
        v = (1.0 + c * x) ** 3
        log_v = tf.math.log(tf.maximum(v, 1e-30))
        bound = 0.5 * x**2 + d - d * v + d * log_v
        accept = (v > 0.0) & (tf.math.log(uniform(shape, uniform_seed, dtype)) < bound)
        return i + 1, accepted | accept, tf.where(accepted, draw, d * v)

    rejected = tf.zeros_like(d, tf.bool)
    return tf.while_loop(
        lambda i, accepted, draw: ~tf.reduce_all(accepted), propose, (0, rejected, d)
    )[2]
