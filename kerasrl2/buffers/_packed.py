"""Rows of several dtypes in one variable."""

import itertools

import numpy as np
import tensorflow as tf

WORD = tf.int32
BYTES = 4


class PackedRows(tf.Module):
    """A table whose rows are read and written whole, as words of four bytes.

    What belongs to one transition lies together: to gather it touches one or two lines
    of the cache instead of one for each field, and a compiled call has one variable to
    hand over instead of several (some microseconds each).

    Args:
        num_rows: Integer.
        fields: List of objects with `stored` (a shape) and `dtype`.
        name: String.
    """

    def __init__(self, num_rows, fields, name):
        super().__init__(name=name)
        self._fields = list(fields)
        ends = np.cumsum([0, *(words_of(field) for field in self._fields)]).tolist()
        self._slices = [slice(*pair) for pair in itertools.pairwise(ends)]
        zeros = tf.zeros([num_rows, ends[-1]], WORD)
        self.words = tf.Variable(zeros, trainable=False, name=name)

    def pack(self, values):
        """`[N, W]` words of a list of `[N, ...]`, one for each field."""
        pairs = zip(self._fields, values, strict=True)
        return tf.concat([_to_words(field, value) for field, value in pairs], axis=-1)

    def field(self, words, number):
        """`[..., *shape]` of field `number`, from words `[..., W]`."""
        return _from_words(self._fields[number], words[..., self._slices[number]])

    def words_of_field(self, words, number, count=1):
        """`[..., w]`, the words of `count` fields from `number` on."""
        start, stop = self._slices[number].start, self._slices[number + count - 1].stop
        return words[..., start:stop]

    def read(self, row):
        """`[..., W]` words of rows `[...]`."""
        return tf.gather(self.words, row)

    def write(self, row, words):
        """Sets rows `[N]` to words `[N, W]`."""
        self.words.scatter_nd_update(row[:, None], words)


def words_of(field):
    """Words that one value of `field` takes."""
    return -(-_size(field) * np.dtype(field.dtype).itemsize // BYTES)


def _size(field):
    return int(np.prod(field.stored, dtype=np.int64))


def _to_words(field, value):
    """`[N, *shape]` to `[N, w]`."""
    width, size = np.dtype(field.dtype).itemsize, _size(field)
    value = tf.reshape(tf.cast(value, field.dtype), [value.shape[0], size])
    if field.dtype == np.bool_:
        value = tf.cast(value, tf.uint8)
    if width < BYTES:
        per_word = BYTES // width
        value = tf.pad(value, [[0, 0], [0, -size % per_word]])
        value = tf.reshape(value, [value.shape[0], -1, per_word])
    return tf.reshape(tf.bitcast(value, WORD), [value.shape[0], words_of(field)])


def _from_words(field, words):
    """`[..., w]` to `[..., *shape]`."""
    width, size = np.dtype(field.dtype).itemsize, _size(field)
    dtype = tf.uint8 if field.dtype == np.bool_ else field.dtype
    leading = words.shape[:-1]
    if not leading.is_fully_defined():
        leading = tf.unstack(tf.shape(words)[:-1])
    if width > BYTES:
        words = tf.reshape(words, [*leading, size, width // BYTES])
    value = tf.bitcast(words, dtype)
    if width < BYTES:
        value = tf.reshape(value, [*leading, words.shape[-1] * (BYTES // width)])
        value = value[..., :size]
    return tf.cast(tf.reshape(value, [*leading, *field.stored]), field.dtype)
