"""Tests of `kerasrl2.envs._random`."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from kerasrl2.envs._random import uniform

SEED = tf.constant([3, -7])


@pytest.mark.parametrize(
    ("low", "high"), [(-0.05, 0.05), (-0.6, -0.4), (-1.0, 1.0), (0.0, 3.0)]
)
def test_has_the_same_bits_in_each_mode(compiled, low, high):
    draw = lambda seed: uniform(seed, [257, 3], low, high)  # noqa: E731
    np.testing.assert_array_equal(compiled(draw)(SEED), draw(SEED))


@pytest.mark.parametrize(("low", "high"), [(-0.05, 0.05), (-0.6, -0.4)])
def test_is_uniform(low, high):
    sample = uniform(SEED, [20_000], low, high).numpy()
    assert low <= sample.min() < low + 0.001 * (high - low)
    assert high >= sample.max() > high - 0.001 * (high - low)
    expected = scipy.stats.uniform(low, high - low)
    assert scipy.stats.kstest(sample, expected.cdf).pvalue > 0.01


def test_follows_the_seed():
    draws = [uniform(tf.constant(s), [100], 0.0, 1.0) for s in ([0, 1], [1, 0], [0, 2])]
    assert len({float(draw[0]) for draw in draws}) == 3
    correlation = np.corrcoef(np.array(draws)) - np.eye(3)
    assert np.abs(correlation).max() < 0.4


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (1.0, 0.0), (1000.0, 1001.0)])
def test_rejects_an_interval_it_cannot_scale(low, high):
    with pytest.raises(ValueError, match="Expected `low < high`"):
        uniform(SEED, [1], low, high)
