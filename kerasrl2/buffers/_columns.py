"""Which transitions a buffer holds: one column of them for each environment."""

import tensorflow as tf

from kerasrl2.buffers._order import ReadFence


class Columns(tf.Module):
    """What the two kinds of rings share.

    Transition `number` of column `n` (both count from 0) has the index
    `number * num_envs + n`. Rows of one column are neighbours: what an n-step
    transition needs lies together.

    Args:
        layout: `Layout`.
        start: List of integers, first values of a column's counters. The first two
            count transitions added, and those displaced.
    """

    def __init__(self, layout, start):
        super().__init__(name="ring")
        self.layout, self.num_envs = layout, layout.num_envs
        self.fence = ReadFence()
        start = tf.constant(start, tf.int64)[:, None]
        self._columns = tf.Variable(
            tf.tile(start, [1, self.num_envs]), trainable=False, name="columns"
        )

    def _counters(self):
        """`[N]` int64 each."""
        return tf.unstack(self._columns.read_value())

    def sizes(self):
        """`[N]` int64, transitions held per column."""
        count, oldest, *_ = self._counters()
        return count - oldest

    def added(self):
        """Scalar int64, transitions stored so far, forgotten ones included."""
        return tf.reduce_sum(self._columns.read_value()[0])

    def holds(self, index):
        """`[B]` bool, whether the transitions `index` have not been displaced."""
        count, oldest, *_ = self._counters()
        number, column = self._split(index)
        held = number >= tf.gather(oldest, column)
        return held & (number < tf.gather(count, column)) & (index >= 0)

    def index_of(self, row):
        """Indices of the newest transitions in rows `[B]` int32; -1 stays."""
        steps = self.layout.steps
        column = tf.truncatediv(tf.maximum(row, 0), steps)
        newest = self._columns.read_value()[0] - 1  # [N]
        # No row of an empty column is ever asked for; 0 only keeps places in range.
        place = tf.cast(tf.truncatemod(tf.maximum(newest, 0), steps), tf.int32)
        age = tf.gather(place, column) - (row - column * steps)
        age = tf.where(age < 0, age + steps, age)
        number = tf.gather(newest, column) - tf.cast(age, tf.int64)
        index = number * self.num_envs + tf.cast(column, tf.int64)
        return tf.where(row >= 0, index, -1)

    def row_of(self, index):
        """Rows in `[0, capacity)` of the transitions `[B]` int64."""
        return self._step_row(*self._split(index))

    def positions(self, fraction):
        """Index of the transition at `fraction` `[B]` in [0, 1) of all held ones."""
        count, oldest, *_ = self._counters()
        ends = tf.cumsum(count - oldest)
        position = tf.cast(fraction * tf.cast(ends[-1], tf.float64), tf.int64)  # [B]
        if self.num_envs == 1:
            return tf.where(ends[-1] > 0, position + oldest[0], -1)
        column = tf.math.count_nonzero(position[:, None] >= ends, axis=1)
        column = tf.minimum(column, self.num_envs - 1)
        number = position - tf.gather(ends, column) + tf.gather(count, column)
        return tf.where(ends[-1] > 0, number * self.num_envs + column, -1)

    def _split(self, index):
        """Number and column of indices `[B]`; of -1 those of 0."""
        index = tf.maximum(index, 0)  # rounding towards 0 needs fewer operations
        number = tf.truncatediv(index, self.num_envs)
        return number, index - number * self.num_envs

    def _step_row(self, number, column):
        return column * self.layout.steps + tf.truncatemod(number, self.layout.steps)
