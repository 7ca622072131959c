"""Tests of `kerasrl2.permutations`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.permutations import random_permutation


@pytest.mark.parametrize("sizes", [range(1, 66), range(66, 131), [1000, 8192, 8193]])
def test_is_a_bijection_for_every_size(sizes):
    for n in sizes:
        for seed in ([n, 0], [-5, n]):
            permutation = random_permutation(n, seed)
            assert permutation.dtype == tf.int32
            np.testing.assert_array_equal(np.sort(permutation), np.arange(n))


@pytest.mark.parametrize(
    "n", [8, 8193, *(pytest.param(n, marks=pytest.mark.long) for n in (100, 8192))]
)
def test_one_seed_gives_one_permutation_in_every_mode(compiled, n):
    seed = tf.constant([3, 2**31 - 1])
    result = compiled(lambda seed: random_permutation(n, seed))(seed)
    np.testing.assert_array_equal(result, random_permutation(n, seed))


def draws(n, count):
    @tf.function(jit_compile=True)
    def function():
        seeds = tf.stack([tf.range(count), tf.range(count) // 3], axis=1)
        return tf.map_fn(lambda seed: random_permutation(n, seed), seeds)

    return function().numpy()


def chi_square(counts):
    """In standard deviations from its mean under equal probabilities."""
    expected = counts.mean()
    degrees = counts.size - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return (statistic - degrees) / np.sqrt(2 * degrees)


@pytest.mark.parametrize(("n", "count"), [(8, 20_000), (67, 40_000)])
def test_every_position_gets_every_value(n, count):
    sample = draws(n, count)
    table = np.stack([np.bincount(column, minlength=n) for column in sample.T])
    assert chi_square(table) < 4.0
    neighbours = np.bincount(sample[:, 0] * n + sample[:, 1], minlength=n * n)
    neighbours = neighbours.reshape(n, n)[~np.eye(n, dtype=bool)]
    assert chi_square(neighbours) < 4.0


def test_all_permutations_of_four_are_equally_likely():
    code = draws(4, 24_000) @ [64, 16, 4, 1]
    counts = np.unique(code, return_counts=True)[1]
    assert counts.size == 24
    assert chi_square(counts) < 4.0


@pytest.mark.parametrize("n", [64, 65, 1024, 8193])
def test_is_not_an_arithmetic_sequence(n):
    """Differences of neighbours repeat no more often than in NumPy's shuffles."""

    def most_common_difference(x):
        return np.bincount(np.diff(x) % n).max()

    rng = np.random.default_rng(0)
    usual = [most_common_difference(rng.permutation(n)) for _ in range(200)]
    seeds = [[7, seed] for seed in range(10)]
    ours = [most_common_difference(random_permutation(n, seed)) for seed in seeds]
    assert max(ours) <= max(usual) + 1


def test_seeds_differ():
    """Of 100 neighbouring seeds, no two agree in more places than chance allows."""
    sample = np.stack([random_permutation(256, [0, seed]) for seed in range(100)])
    agree = (sample[:, None] == sample[None]).sum(-1)[~np.eye(100, dtype=bool)]
    assert agree.max() < 12  # Poisson with mean 1
    assert 0.9 < agree.mean() < 1.1


def test_bad_size():
    with pytest.raises(ValueError, match="`n`"):
        random_permutation(0, [0, 0])
    with pytest.raises(ValueError, match=r"2\*\*31"):
        random_permutation(2**31, [0, 0])
