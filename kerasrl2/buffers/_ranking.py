"""Priorities by rank instead of size."""

import tensorflow as tf

from kerasrl2.buffers._variables import ReadFence


class RankTable(tf.Module):
    """Turns keys into `(1 / rank)**alpha`, rank 1 for the largest key.

    Section 3.3 of Schaul et al. (2016), https://arxiv.org/abs/1511.05952. Ranks are
    those of the latest `refresh`; a key set since then gets the rank it would have had.

    Args:
        capacity: Integer >= 1, rows.
        alpha: Float >= 0.

    Attributes:
        pending: int64 variable, rows set since the latest `refresh`.
    """

    def __init__(self, capacity, alpha):
        super().__init__(name="ranks")
        self.capacity, self.alpha = capacity, alpha
        # -1 stands for an empty row; the last one takes what is masked.
        self.keys = _variable(tf.fill([capacity + 1], tf.constant(-1.0, tf.float64)))
        self._falling = _variable(tf.fill([capacity], tf.constant(-1.0, tf.float64)))
        self.pending = _variable(tf.zeros([], tf.int64))
        self._fence = ReadFence()

    def set(self, row, key, mask):
        """Stores keys `[B]`, -1 to empty a row; returns their priorities `[B]`."""
        row = self._fence.order(tf.where(mask, tf.cast(row, tf.int32), self.capacity))
        key = tf.where(mask, key, -1.0)
        self.keys.scatter_update(tf.IndexedSlices(-tf.ones_like(key), row))
        self.keys.scatter_max(tf.IndexedSlices(key, row))  # of duplicates, the largest
        self.pending.assign_add(tf.math.count_nonzero(mask))
        larger = self._count_larger(key)
        return tf.where(key >= 0.0, self._priority(larger), 0.0)

    def _priority(self, larger):
        return (1.0 + tf.cast(larger, tf.float64)) ** -self.alpha

    def _count_larger(self, key):
        """How many keys of the latest `refresh` exceed `key` `[B]`, by bisection."""
        low = tf.zeros_like(key, tf.int32)

        def halve(step, low, high):
            middle = (low + high) // 2
            value = tf.gather(self._falling, tf.minimum(middle, self.capacity - 1))
            larger = (value > key) & (middle < high)
            low = tf.where(larger, middle + 1, low)
            return step + 1, low, tf.where(larger, high, middle)

        steps = self.capacity.bit_length()
        _, low, _ = tf.while_loop(
            lambda step, *_: step < steps,
            halve,
            (0, low, low + self.capacity),
            maximum_iterations=steps,
        )
        self._fence.after(low)
        return low

    def refresh(self, tree):
        """Sorts all keys and sets all leaves of `tree`."""
        keys = self.keys.read_value()[:-1]
        order = tf.argsort(keys, direction="DESCENDING", stable=True)
        falling = tf.gather(keys, order)
        ranked = self._priority(tf.range(self.capacity))
        ranked = tf.where(falling >= 0.0, ranked, 0.0)
        tree.assign(tf.scatter_nd(order[:, None], ranked, [self.capacity]))
        self._falling.assign(falling)
        self.pending.assign(tf.zeros([], tf.int64))

    def clear(self):
        """Empties all rows."""
        self.keys.assign(-tf.ones_like(self.keys))
        self._falling.assign(-tf.ones_like(self._falling))


def _variable(value):
    return tf.Variable(value, trainable=False)
