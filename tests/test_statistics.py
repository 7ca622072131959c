"""Tests of `kerasrl2.statistics`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.statistics import (
    explained_variance,
    global_norm,
    masked_mean,
    masked_moments,
    merge_moments,
)


def merged(batches, count, mean, variance):
    state = tuple(np.float64(x) for x in (count, mean, variance))
    for batch in batches:
        x = tf.constant(np.array(batch, float)[:, None])
        batch_count, batch_mean, batch_variance = masked_moments(x)
        state = merge_moments(*state, batch_count, batch_mean[0], batch_variance[0])
    return [float(x) for x in state]


def test_merge_by_hand():
    first = merged([[1, 2, 3]], 1e-4, 0.0, 1.0)
    np.testing.assert_allclose(first, [3.0001, 1.999933, 0.666811], atol=1e-6)
    second = merged([[1, 2, 3], [4, 5]], 1e-4, 0.0, 1.0)
    np.testing.assert_allclose(second, [5.0001, 2.999940, 2.000160], atol=1e-6)
    exact = merged([[1, 2, 3], [4, 5]], 0.0, 0.0, 0.0)
    np.testing.assert_allclose(exact, [5.0, 3.0, 2.0], rtol=1e-12)


def test_five_batches_of_one_are_one_batch_of_five():
    x = np.random.default_rng(0).normal(1e3, 2.0, size=5)
    for start in [(0.0, 0.0, 0.0), (1e-4, 0.0, 1.0)]:
        one, five = merged([x], *start), merged(x[:, None], *start)
        np.testing.assert_allclose(one, five, rtol=1e-9)
    np.testing.assert_allclose(merged([x], 0.0, 0.0, 0.0), [5, x.mean(), x.var()])


def test_merging_nothing_changes_nothing():
    state = merge_moments(7.0, 3.0, 2.0, 0.0, 99.0, 99.0)
    np.testing.assert_array_equal([float(x) for x in state], [7.0, 3.0, 2.0])
    empty = merge_moments(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    np.testing.assert_array_equal([float(x) for x in empty], [0.0, 0.0, 1.0])


def test_float32_does_not_drift():
    """100 000 merges of batches with mean 10, variance 1 stay at 10 and 1."""

    @tf.function(jit_compile=True)
    def run():
        def body(_, count, mean, variance):
            return (_ + 1, *merge_moments(count, mean, variance, 8.0, 10.0, 1.0))

        start = (0, tf.constant(0.0), tf.constant(0.0), tf.constant(0.0))
        return tf.while_loop(lambda i, *_: i < 100_000, body, start)

    np.testing.assert_allclose(run()[2:], [10.0, 1.0], rtol=1e-6)


def test_masked_moments(compiled):
    x = np.random.default_rng(1).normal(size=(4, 3, 2, 2)).astype("f4")
    mask = np.random.default_rng(2).random((4, 3)) < 0.5
    x[~mask] = np.nan  # content that does not count may be anything
    function = compiled(lambda x, m: masked_moments(x, m, feature_rank=2))
    count, mean, variance = function(tf.constant(x), tf.constant(mask))
    assert count == mask.sum()
    np.testing.assert_allclose(mean, x[mask].mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, x[mask].var(0), rtol=1e-4)


def test_masked_moments_special_cases():
    count, mean, variance = masked_moments([[1, 10], [3, 30]])  # integers, no mask
    assert count == 2
    np.testing.assert_array_equal(mean, [2.0, 20.0])
    np.testing.assert_array_equal(variance, [1.0, 100.0])
    nothing = masked_moments([[1.0], [2.0]], mask=[False, False])
    assert [float(np.squeeze(x)) for x in nothing] == [0.0, 0.0, 0.0]
    large = masked_moments(np.float32([[1e6 - 1], [1e6 + 1]]))
    np.testing.assert_allclose(large.variance, [1.0])


def test_masked_mean():
    assert masked_mean([1.0, 2.0, 6.0]) == 3.0
    assert masked_mean([[1.0, np.inf], [3.0, np.nan]], [[1, 0], [1, 0]]) == 2.0
    assert masked_mean([5.0], [False]) == 0.0
    x = tf.constant([1.0, 2.0, 6.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = masked_mean(x, [True, False, True])
    np.testing.assert_array_equal(tape.gradient(y, x), [0.5, 0.0, 0.5])


@pytest.mark.parametrize(
    ("value", "expected"),
    [  # targets 1, 2, 3, variance 2/3
        ([1.0, 2.0, 3.0], 1.0),
        ([9.0, 10.0, 11.0], 1.0),  # a constant offset is not variance
        ([2.0, 2.0, 2.0], 0.0),
        ([3.0, 2.0, 1.0], -3.0),
    ],
)
def test_explained_variance(value, expected):
    target = [1.0, 2.0, 3.0]
    np.testing.assert_allclose(explained_variance(value, target), expected, atol=1e-6)
    masked = explained_variance([*value, np.nan], [*target, 7.0], [1, 1, 1, 0])
    np.testing.assert_allclose(masked, expected, atol=1e-6)


def test_explained_variance_of_constant_targets_is_undefined():
    assert np.isnan(explained_variance([1.0, 2.0], [5.0, 5.0]))


def test_bad_input():
    with pytest.raises(ValueError, match=r"Expected `mask` of shape \(2,\)"):
        masked_moments([[1.0], [2.0]], mask=[[True], [True]])
    with pytest.raises(ValueError, match=r"Expected `mask` of shape \(2, 1\)"):
        masked_mean([[1.0], [2.0]], [True, True])
    with pytest.raises(ValueError, match="at least 2 axes"):
        masked_moments([1.0], feature_rank=2)
    with pytest.raises(ValueError, match="one shape"):
        explained_variance([1.0, 2.0], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="one shape"):
        merge_moments(1.0, [0.0], [1.0], 1.0, 0.0, 1.0)


SHAPES = [[()], [(1,)], [(31,), (32,)], [(33, 7), (), (5,)], [(257, 129), (129,)]]


@pytest.mark.parametrize("shapes", SHAPES)
def test_global_norm(compiled, shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype("f4") for shape in shapes]
    norm = compiled(global_norm)([tf.constant(array) for array in arrays])
    by_hand = np.sqrt(sum(np.sum(array.astype("f8") ** 2) for array in arrays))
    np.testing.assert_allclose(norm, by_hand, rtol=1e-6)


def test_global_norm_shows_what_is_not_finite(compiled):
    """Also in what folding leaves over."""
    norm = compiled(global_norm)
    for place in (0, 512, 1023, 1024, 1030):
        for bad in (np.nan, np.inf, -np.inf):
            array = np.ones(1031, "f4")
            array[place] = bad
            assert not np.isfinite(norm([tf.constant(array)])), (place, bad)


def test_global_norm_in_a_function_with_autograph(caplog):
    @tf.function(jit_compile=True)  # warns where AutoGraph cannot read
    def norm(tensor):
        return global_norm([tensor])

    assert float(norm(tf.ones([40, 40]))) == pytest.approx(40.0)
    assert "AutoGraph" not in caplog.text


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["float16"], tf.float32),
        (["float16", "float32", "bfloat16"], tf.float32),
        (["float32", "float64"], tf.float64),
        (["float64", "float16"], tf.float64),
    ],
)
def test_global_norm_of_several_dtypes(compiled, dtypes, expected):
    """300 squared is beyond float16."""
    tensors = [tf.constant([300.0, 400.0], dtype) for dtype in dtypes]
    norm = compiled(global_norm)(tensors)
    assert norm.dtype == expected
    np.testing.assert_allclose(norm, 500.0 * len(dtypes) ** 0.5, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_moments_of_several_dtypes(dtype):
    x = tf.constant([[300.0], [500.0]], dtype)
    moments = masked_moments(x, [True, True])
    np.testing.assert_allclose(moments.variance, [10_000.0], rtol=1e-2)
    whole = merge_moments(2.0, x[0], x[1], 2.0, *[tf.cast(x[0], tf.float64)] * 2)
    expected = tf.float64 if dtype == "float64" else tf.float32
    for moment in (*moments, *whole):
        assert moment.dtype == expected
    assert masked_mean(x).dtype == expected
    value = explained_variance(x[:, 0], tf.constant([300.0, 500.0], tf.float64))
    np.testing.assert_allclose(value, 1.0, atol=1e-4)
