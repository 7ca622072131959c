"""Keeps XLA from copying a ring, and numbers fine enough to draw from it."""

import numpy as np
import tensorflow as tf


class ReadFence(tf.Module):
    """Orders writes into variables after all reads of them.

    XLA updates a variable in place only if each read of the old value is, by the flow
    of data, a predecessor of the write. A loop that samples and then adds has no such
    flow, and XLA copies the whole variable in each iteration (12 ms instead of 14 us
    for 64 MB). So a read leaves a zero here that is computed from what was read, and
    a write adds that zero to its indices.
    """

    def __init__(self):
        super().__init__(name="read_fence")
        self.zero = tf.Variable(0, trainable=False, name="zero")

    def after(self, *tensors):
        """Registers what was read: `[...]` tensors of at least one element."""
        zeros = [_opaque_zero(tensor) for tensor in tensors]
        self.zero.assign(tf.add_n([self.zero, *zeros]))

    def order(self, index):
        """`index` (int), unchanged, computed after everything that was read."""
        return index + tf.cast(self.zero, index.dtype)


def _opaque_zero(tensor):
    """Scalar int32 0 that no compiler knows to be 0: `e (e + 1)` is even."""
    element = tf.reshape(tensor, [-1])[0]
    if element.dtype.is_floating:
        element = tf.math.is_finite(element)
    element = tf.cast(element, tf.int32)
    return tf.bitwise.bitwise_and(element * (element + 1), 1)


def uniform(shape, seed, fine=True):
    """Float64 draws from (0, 1), the same in every run mode.

    With the 2**23 values of float32 leaves of a large tree would get noticeably unequal
    numbers of tickets, and the smallest none.

    Args:
        shape: List of integers.
        seed: `[2]` int, stateless seed.
        fine: Boolean, whether 2**52 different values (True) or 2**32, in half the time.

    Example:
    >>> bool(0.0 < uniform([], [0, 1]) < 1.0)
    True
    """
    words = 2 if fine else 1
    bits = tf.random.stateless_uniform(
        [words, *shape], seed, None, None, tf.uint32, alg="philox"
    )
    bits = tf.unstack(tf.cast(bits, tf.int64))
    if not fine:
        return (tf.cast(bits[0], tf.float64) + 0.5) * 2.0**-32
    integer = bits[0] * 2**20 + bits[1] // 2**12
    return (tf.cast(integer, tf.float64) + 0.5) * 2.0**-52


def as_tensor(value, dtype):
    """`value` as a tensor; lists of floats without a detour through float32.

    Example:
    >>> float(as_tensor([0.1], tf.float64)[0])
    0.1
    """
    if not tf.is_tensor(value):
        if isinstance(value, list | tuple) and any(map(tf.is_tensor, value)):
            value = tf.stack(value)
        else:
            value = np.asarray(value)
    return tf.cast(value, dtype)
