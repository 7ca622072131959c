"""What replay buffers in TensorFlow variables are made of."""

import itertools
import math

import numpy as np
import tensorflow as tf

WORD = tf.int32
BYTES = 4
GOLDEN, MIX, MIX_AGAIN = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


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
        zeros = [self.zero]
        for tensor in tensors:
            element = tf.reshape(tensor, [-1])[0]
            if element.dtype.is_floating:
                element = tf.math.is_finite(element)
            element = tf.cast(element, tf.int32)
            # `e (e + 1)` is even, so this is 0, which no compiler knows.
            zeros.append(tf.bitwise.bitwise_and(element * (element + 1), 1))
        self.zero.assign(tf.add_n(zeros))

    def order(self, index):
        """`index` (int), unchanged, computed after everything that was read."""
        return index + tf.cast(self.zero, index.dtype)


class Columns(tf.Module):
    """Which transitions a ring holds: one column of them for each environment.

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

    def counts(self):
        """`[N]` int64, transitions stored so far per column."""
        return self._columns.read_value()[0]

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

    def whole(self, index, length):
        """Indices `[B, length]` of sequences from transitions `[B]` on, in order.

        One that would reach beyond the newest transition begins that much earlier, if
        its column holds enough. -1 stays.
        """
        count, oldest, *_ = self._counters()
        number, column = self._split(index)
        latest = tf.gather(tf.maximum(count - length, oldest), column)
        number = tf.minimum(number, latest)[:, None] + tf.range(length, dtype=tf.int64)
        numbers = number * self.num_envs + column[:, None]
        return tf.where(index[:, None] >= 0, numbers, -1)

    def _split(self, index):
        """Number and column of indices `[B]`; of -1 those of 0."""
        index = tf.maximum(index, 0)  # rounding towards 0 needs fewer operations
        number = tf.truncatediv(index, self.num_envs)
        return number, index - number * self.num_envs

    def _step_row(self, number, column):
        return column * self.layout.steps + tf.truncatemod(number, self.layout.steps)


class PackedRows(tf.Module):
    """A table of rows of several dtypes, as words of four bytes in one variable.

    Rows are read by `tf.gather(rows.words, ...)` and written whole. What belongs to one
    transition lies together: to gather it touches one or two lines of the cache instead
    of one for each field, and a compiled call has one variable to hand over instead of
    several (some microseconds each).

    Args:
        num_rows: Integer.
        fields: List of objects with `stored` (a shape) and `dtype`.
        name: String.

    Attributes:
        words: `[num_rows, W]` int32 variable.
        slices: List of slices, where in a row each field is.
    """

    def __init__(self, num_rows, fields, name):
        super().__init__(name=name)
        self._fields = list(fields)
        ends = np.cumsum([0, *map(words_of, self._fields)]).tolist()
        self.slices = [slice(*pair) for pair in itertools.pairwise(ends)]
        zeros = tf.zeros([num_rows, ends[-1]], WORD)
        self.words = tf.Variable(zeros, trainable=False, name=name)

    def pack(self, values):
        """`[N, W]` words of a list of `[N, ...]`, one for each field."""
        words = []
        for field, value in zip(self._fields, values, strict=True):
            count, width = value.shape[0], np.dtype(field.dtype).itemsize
            value = tf.reshape(tf.cast(value, field.dtype), [count, _size(field)])
            if field.dtype == np.bool_:
                value = tf.cast(value, tf.uint8)
            if width < BYTES:
                per_word = BYTES // width
                value = tf.pad(value, [[0, 0], [0, -_size(field) % per_word]])
                value = tf.reshape(value, [count, -1, per_word])
            value = tf.bitcast(value, WORD)
            words.append(tf.reshape(value, [count, words_of(field)]))
        return tf.concat(words, axis=-1)

    def field(self, words, number):
        """`[..., *shape]` of field `number`, from words `[..., W]` of whole rows."""
        field, words = self._fields[number], words[..., self.slices[number]]
        width, size = np.dtype(field.dtype).itemsize, _size(field)
        leading = words.shape[:-1]
        if not leading.is_fully_defined():
            leading = tf.unstack(tf.shape(words)[:-1])
        if width > BYTES:
            words = tf.reshape(words, [*leading, size, width // BYTES])
        value = tf.bitcast(words, tf.uint8 if field.dtype == np.bool_ else field.dtype)
        if width < BYTES:
            value = tf.reshape(value, [*leading, words.shape[-1] * (BYTES // width)])
            value = value[..., :size]
        return tf.cast(tf.reshape(value, [*leading, *field.stored]), field.dtype)


def words_of(field):
    """Words that one value of `field` takes."""
    return -(-_size(field) * np.dtype(field.dtype).itemsize // BYTES)


def _size(field):
    return int(np.prod(field.stored, dtype=np.int64))


def uniform(shape, seed):
    """Float64 draws from (0, 1), 2**52 different values, the same in every run mode.

    With the 2**23 values of float32 leaves of a large tree would get noticeably unequal
    numbers of tickets, and the smallest none.

    The generator is SplitMix64 of Steele, Lea and Flood (2014), "Fast splittable
    pseudorandom number generators": a counter, mixed. It starts where `seed` says.
    TensorFlow's Philox takes 9 us for 256 draws under XLA, this 1 us.

    Args:
        shape: List of integers.
        seed: `[2]` int, stateless seed.

    Example:
    >>> bool(0.0 < uniform([], [0, 1]) < 1.0)
    True
    """
    seed = tf.cast(as_tensor(seed, tf.int64), tf.uint64)
    start = _mix(_mix(seed[0] + _uint64(GOLDEN)) + seed[1])
    count = tf.range(1, 1 + math.prod(shape), dtype=tf.int64)
    bits = _mix(start + tf.cast(count, tf.uint64) * _uint64(GOLDEN))
    integer = tf.cast(tf.bitwise.right_shift(bits, _uint64(12)), tf.int64)
    return (tf.reshape(tf.cast(integer, tf.float64), shape) + 0.5) * 2.0**-52


def _mix(bits):
    """A permutation of uint64: each bit of the result depends on all of `bits`."""
    for shift, factor in ((30, MIX), (27, MIX_AGAIN)):
        bits ^= tf.bitwise.right_shift(bits, _uint64(shift))
        bits *= _uint64(factor)
    return bits ^ tf.bitwise.right_shift(bits, _uint64(31))


def _uint64(value):
    return tf.constant(value, tf.uint64)


def as_tensor(value, dtype=None):
    """`value` as a tensor, of the dtype TensorFlow chooses where none is given.

    With a `dtype`, lists of floats make no detour through float32.

    Example:
    >>> float(as_tensor([0.1], tf.float64)[0])
    0.1
    """
    if dtype is None:
        return tf.convert_to_tensor(value)
    if not tf.is_tensor(value):
        if isinstance(value, list | tuple) and any(map(tf.is_tensor, value)):
            value = tf.stack(value)
        else:
            value = np.asarray(value)
    return tf.cast(value, dtype)
