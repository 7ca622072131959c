"""The storage of a replay buffer for small observations: a row is a transition."""

import tensorflow as tf

from kerasrl2.buffers._layout import Spec
from kerasrl2.buffers._variables import Columns, PackedRows
from kerasrl2.types import Transition

# Flags of a row. One that follows an end, or nothing, begins an episode.
TERMINATED, BEGINS = 1, 2
FLAGS, REWARD, LEAVES = 0, 1, 2  # fields of a row


class FlatRing(Columns):
    """Rows of flags, reward, action, observation and next observation.

    Stores each observation twice, so that one gather reads a whole transition. `Ring`,
    which stores it once, is for large observations and for stacks of frames.

    Args:
        layout: `Layout`.
    """

    def __init__(self, layout):
        # Per column: transitions added; the oldest one held; whether the next one may
        # follow the newest one.
        super().__init__(layout, [0, 0, 0])
        action = tf.nest.flatten(layout.action)
        observation = tf.nest.flatten(layout.observation)
        self._now = LEAVES + len(action)  # the number of its first field
        self._then = self._now + len(observation)
        scalars = [tf.TensorSpec([], dtype) for dtype in (tf.int32, tf.float32)]
        fields = [*map(Spec, scalars), *action, *observation, *observation]
        # Rows that are not valid are written to spare rows behind the ring.
        rows = self.num_envs * (layout.steps + 1)
        self._rows = PackedRows(rows, fields, "transitions")
        first, middle = (self._rows.slices[n].start for n in (self._now, self._then))
        self._words_now, self._words_then = slice(first, middle), slice(middle, None)

    def add(self, observation, action, reward, terminated, truncated, following, valid):
        """Stores one step of each column. See `Ring.add`."""
        count, oldest, follows = self._counters()
        column = tf.range(self.num_envs, dtype=tf.int64)
        flags = tf.cast(terminated, tf.int32) * TERMINATED
        fields = [flags, reward, *action, *observation, *following]
        words = self._rows.pack(fields)
        newest = self._step_row(tf.maximum(count - 1, 0), column)
        newest = tf.gather(self._rows.words, newest)[:, self._words_then]
        same = tf.reduce_all(newest == words[:, self._words_now], axis=1)
        self.fence.after(same)
        begins = tf.where((follows > 0) & same, 0, BEGINS)
        words = tf.concat([words[:, :1] + begins[:, None], words[:, 1:]], axis=1)

        spare = column + self.num_envs * self.layout.steps
        row = tf.where(valid, self._step_row(count, column), spare)
        self._rows.words.scatter_nd_update(self.fence.order(row)[:, None], words)

        goes = tf.maximum(oldest, count + 1 - self.layout.steps)
        open_ = tf.cast(~(terminated | truncated), tf.int64)
        new = tf.stack([count + 1, goes, open_])
        self._columns.assign(tf.where(valid, new, self._columns.read_value()))
        # A new transition overwrites the oldest one, in the same row: no other row
        # loses its transition.
        displaced = tf.zeros([self.num_envs, 0], tf.int64)
        return tf.where(valid, count * self.num_envs + column, -1), displaced

    def clear(self):
        """Forgets all transitions."""
        count, _, follows = self._counters()
        self._columns.assign(tf.stack([count, count, follows]))

    def get(self, index, weight, powers, row=None):
        """`Transition` of `[B]` int64 indices, in rows `[B]` if those are known.

        `powers` is `[n_step + 1]` float32, of gamma.
        """
        n_step = powers.shape[0] - 1
        if n_step == 1:
            row = self.row_of(index) if row is None else tf.maximum(row, 0)
            first = last = tf.gather(self._rows.words, row)
            self.fence.after(first)
            reward = self._rows.field(first, REWARD)
            power = powers[1]
        else:
            words, within = self._window(index, n_step)
            length = tf.math.count_nonzero(within, axis=1)  # [B]
            first = words[:, 0]
            last = tf.gather(words, length - 1, batch_dims=1)
            reward = powers[:-1] * self._rows.field(words, REWARD)
            reward = tf.reduce_sum(tf.where(within, reward, 0.0), axis=1)
            power = tf.gather(powers, length)
        terminated = self._flag(last, TERMINATED)
        discount = tf.where(terminated, 0.0, power)
        action = self._leaves(first, LEAVES, self.layout.action)
        now = self._leaves(first, self._now, self.layout.observation)
        then = self._leaves(last, self._then, self.layout.observation)
        return Transition(now, action, reward, discount, then, weight)

    def begins(self, index):
        """`[B]` bool, whether transitions, after the first one, begin an episode."""
        words = tf.gather(self._rows.words, self.row_of(index))
        self.fence.after(words)
        return self._flag(words, BEGINS)

    def _window(self, index, n_step):
        """`[B, n, W]` words from each transition on, `[B, n]` which belong to it."""
        number, column = self._split(index)
        count = tf.gather(self._columns.read_value()[0], column)
        numbers = number[:, None] + tf.range(n_step, dtype=tf.int64)
        row = self._step_row(numbers, column[:, None])
        words = tf.gather(self._rows.words, row)
        self.fence.after(words)
        ends = self._flag(words, BEGINS) | (numbers >= count[:, None])
        before = tf.cumsum(tf.cast(ends[:, 1:], tf.int32), axis=1)  # ends up to each
        return words, tf.pad(before, [[0, 0], [1, 0]]) == 0

    def _flag(self, words, flag):
        flags = self._rows.field(words, FLAGS)
        return tf.bitwise.bitwise_and(flags, flag) != 0

    def _leaves(self, words, first, structure):
        numbers = range(first, first + len(tf.nest.flatten(structure)))
        leaves = [self._rows.field(words, number) for number in numbers]
        return tf.nest.pack_sequence_as(structure, leaves)
