"""Random first states that are bit-identical in eager, graph and XLA mode."""

import tensorflow as tf

BITS = 23  # a float32 holds every integer below 2 ** 24 exactly


def uniform(seed, shape, low, high):
    """Uniform float32 numbers from `low` to `high`, the same in every run mode.

    `tf.random.stateless_uniform(alg="philox")` draws the same integers in each mode,
    but XLA converts them to other floats than TensorFlow's kernels do (TF 2.21). Hence
    integers are drawn and scaled here, by a single product: XLA might fuse a sum after
    it into it, which rounds differently.

    Args:
        seed: `[2]` int32.
        shape: Sequence of integers.
        low: Float.
        high: Float greater than `low`. The interval's centre lies at most 64 of its
            widths from 0, so that 32-bit integers suffice.

    Returns:
        Tensor of the given shape, float32.

    Example:
    >>> draw = lambda: uniform(tf.constant([1, 2]), [1000], -0.6, -0.4)
    >>> float(tf.reduce_min(draw())) >= -0.6, float(tf.reduce_max(draw())) <= -0.4
    (True, True)
    >>> bool(tf.reduce_all(draw() == tf.function(draw, jit_compile=True)()))
    True
    """
    width = high - low
    if not abs(low + high) / 2 <= 64 * width or not width > 0:
        raise ValueError(
            "Expected `low < high`, centred at most 64 widths from 0. "
            f"Received: low={low}, high={high}"
        )
    unit = width / 2 ** (BITS + 1)
    centre = round((low + high) / 2 / unit)  # at most 2 ** 30
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
    steps = tf.bitwise.right_shift(bits, 31 - BITS) + centre  # in `unit`s from 0
    return tf.cast(steps, tf.float32) * unit
