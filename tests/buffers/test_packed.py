"""Rows of mixed dtypes in words of four bytes."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers._layout import Spec
from kerasrl2.buffers._variables import PackedRows, words_of

DTYPES = (
    np.bool_, np.uint8, np.int8, np.int16, np.float16, np.int32, np.uint32, np.float32,
    np.int64, np.float64,
)  # fmt: skip
SHAPES = ((), (1,), (3,), (2, 5), (0,))


def value_of(dtype, shape):
    """Random bits, so that there are NaNs and numbers that are not normal, too."""
    rng = np.random.default_rng(0)
    if dtype is np.bool_:
        return rng.random([6, *shape]) < 0.5
    bits = rng.integers(256, size=[6, *shape, np.dtype(dtype).itemsize], dtype=np.uint8)
    return bits.view(dtype)[..., 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_comes_back(dtype, compiled):
    fields = [Spec(tf.TensorSpec(shape, dtype)) for shape in SHAPES]
    rows = PackedRows(9, fields, "rows")
    values = [value_of(dtype, shape) for shape in SHAPES]

    def write(row, *values):
        rows.words.scatter_nd_update(row[:, None], rows.pack(values))
        return 0

    compiled(write)(tf.constant([8, 2, 0, 5, 4, 1]), *map(tf.constant, values))

    def read(row):
        words = tf.gather(rows.words, row)
        return [rows.field(words, number) for number in range(len(fields))]

    found = compiled(read)(tf.constant([[8, 2], [0, 5], [4, 1]]))
    for value, back in zip(values, found, strict=True):
        assert back.dtype == dtype
        assert back.shape == [3, 2, *value.shape[1:]]
        assert back.numpy().tobytes() == value.tobytes()
    assert not np.any(rows.words.numpy()[[3, 6, 7]])  # all others are as they were


def test_words_are_the_fewest():
    sizes = {
        (np.bool_, (5,)): 2, (np.uint8, (4,)): 1, (np.float16, (3,)): 2,
        (np.int32, (3, 2)): 6, (np.float64, ()): 2, (np.float32, (0,)): 0,
    }  # fmt: skip
    for (dtype, shape), words in sizes.items():
        assert words_of(Spec(tf.TensorSpec(shape, dtype))) == words


def test_batches_of_unknown_size():
    fields = [Spec(tf.TensorSpec([2], d)) for d in (np.uint8, np.float32, np.int64)]
    rows = PackedRows(4, fields, "rows")
    rows.words.assign(rows.pack([np.arange(8).reshape([4, 2])] * 3))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def read(row):
        words = tf.gather(rows.words, row)
        return [rows.field(words, number) for number in range(3)]

    for found in read(tf.constant([3, 1, 1])):
        np.testing.assert_array_equal(found, [[6, 7], [2, 3], [2, 3]])
