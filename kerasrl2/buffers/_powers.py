"""Powers of gamma, the same bits in both back ends and in every run mode."""

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_range


def powers_of(gamma, n_step):
    """`gamma**0`, ..., `gamma**n_step`, multiplied up one by one in float64.

    `pow` rounds differently in NumPy, TensorFlow and XLA; a product does not. (Graphs
    round powers below 1e-38 to 0.)

    Args:
        gamma: Number in [0, 1], or scalar tensor or variable of float64 or float32.
            Inside a graph a tensor's range is not checked.
        n_step: Integer >= 1.

    Returns:
        `[n_step + 1]` float32: an array where the value of gamma is known, else a
        tensor.

    Raises:
        ValueError: If gamma is out of range, no scalar or no floating-point tensor.

    Example:
    >>> powers_of(0.5, 2).tolist()
    [1.0, 0.5, 0.25]
    """
    if tf.is_tensor(gamma):
        dtype = tf.as_dtype(gamma.dtype)
        if tuple(gamma.shape) != () or dtype not in (tf.float64, tf.float32):
            raise ValueError(
                "Expected `gamma` as a number or a scalar tensor of float64 or "
                f"float32. Received: shape {tuple(gamma.shape)}, dtype {dtype.name}"
            )
        gamma = tf.convert_to_tensor(gamma)
        if not tf.executing_eagerly():
            gamma = tf.cast(gamma, tf.float64)
            powers = [tf.ones_like(gamma)]
            for _ in range(n_step):
                powers.append(powers[-1] * gamma)
            return tf.cast(tf.stack(powers), tf.float32)
        gamma = float(gamma)
    check_range("gamma", gamma, 0.0, 1.0)
    factors = np.full([n_step + 1], gamma, np.float64)
    factors[0] = 1.0
    return np.cumprod(factors).astype(np.float32)
