"""Tests of `kerasrl2.buffers.SumTree` against a naive cumulative sum."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import SumTree, _variables
from kerasrl2.buffers._variables import uniform
from tests.harness import xla_in_long_runs

SMALL = range(1, 71)
SOME = (1, 5, 65, 200_000)  # of 1, 2, 4 and 9 levels
MORE = [
    pytest.param(n, marks=pytest.mark.long) for n in (2, 4, 16, 17, 64, 1000, 2**20)
]
ROWS = 24


class NaiveTree:
    """Leaves in an array; a lookup searches their cumulative sum."""

    def __init__(self, capacity):
        self.leaves = np.zeros(capacity)

    def update(self, index, priority):
        for i in set(index.tolist()):
            self.leaves[i] = priority[index == i].max()

    def find(self, mass):
        if not self.leaves.any():
            return np.full(len(mass), -1)
        sums = np.cumsum(self.leaves)
        last = np.flatnonzero(self.leaves)[-1]
        return np.minimum(np.searchsorted(sums, mass, side="right"), last)


def cycle_of(tree):
    def cycle(index, priority, mass):
        tree.update(index, priority)
        return *tree.lookup(mass), tree.total(), tree.minimum(), tree.get(index)

    return cycle


def check_against_naive(capacity, wrap, rounds, seed=0):
    rng = np.random.default_rng(seed)
    tree, naive = SumTree(capacity, track_minimum=True), NaiveTree(capacity)
    cycle = wrap(cycle_of(tree))
    for number in range(rounds):
        # Integer priorities, a third of them 0: sums and comparisons are exact.
        index = rng.integers(capacity, size=ROWS).astype(np.int32)
        if number == 1:  # only duplicates
            index[:] = capacity - 1
        priority = np.maximum(rng.integers(-5, 11, ROWS), 0).astype(np.float64)
        naive.update(index, priority)
        total = naive.leaves.sum()
        # Edges between leaves, points inside, beyond the end, below 0.
        edges = np.cumsum(naive.leaves)[rng.integers(capacity, size=ROWS)]
        inside = rng.random(ROWS) * total
        more = [0.0, total, np.nextafter(total, 0.0), total + 7.0, -1.0]
        mass = np.concatenate([edges, inside, more])
        found, drawn, tree_total, minimum, got = (
            x.numpy() for x in cycle(*map(tf.constant, (index, priority, mass)))
        )
        np.testing.assert_array_equal(found, naive.find(np.maximum(mass, 0.0)))
        assert tree_total == total
        np.testing.assert_array_equal(got, naive.leaves[index])
        positive = naive.leaves[naive.leaves > 0.0]
        assert minimum == (positive.min() if len(positive) else np.inf)
        if total:
            np.testing.assert_array_equal(drawn, naive.leaves[found])
            assert np.all(drawn > 0.0)
    return cycle


@pytest.mark.parametrize("capacity", SMALL)
def test_small_capacities_eagerly(capacity):
    check_against_naive(capacity, lambda function: function, rounds=2, seed=capacity)


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("capacity", [*SOME, *MORE])
def test_capacities_in_one_trace(capacity, jit_compile):
    cycle = check_against_naive(
        capacity, tf.function(jit_compile=jit_compile), rounds=12
    )
    assert cycle.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("capacity", SMALL)
def test_every_leaf_is_reachable(capacity):
    tree = SumTree(capacity)
    tree.assign(np.ones(capacity))
    np.testing.assert_array_equal(tree.find(np.arange(capacity)), np.arange(capacity))


def test_every_leaf_of_200_000_is_reachable():
    tree = SumTree(200_000)
    rng = np.random.default_rng(0)
    tree.update(np.arange(200_000), np.ones(200_000))
    index = rng.permutation(200_000)
    np.testing.assert_array_equal(tf.function(tree.find)(index + 0.5), index)
    assert float(tree.total()) == 200_000.0


@pytest.mark.parametrize("capacity", [1, 4, 5, 21, 257, 3000, 5000])
def test_assign_equals_updates(capacity):
    priority = np.random.default_rng(0).random(capacity) * (np.arange(capacity) % 3)
    one, other = SumTree(capacity, True), SumTree(capacity, True)
    one.assign(priority)
    other.update(np.arange(capacity), priority)
    np.testing.assert_array_equal(one.nodes[:-1], other.nodes[:-1])
    np.testing.assert_array_equal(one.minimum(), other.minimum())
    one.clear()
    assert float(one.total()) == 0.0
    assert float(one.minimum()) == np.inf


def test_half_open_pieces_by_hand(compiled):
    tree = SumTree(4)
    tree.assign([1.0, 4.0, 2.0, 3.0])
    mass = tf.constant([0.0, 0.99, 1.0, 4.99, 5.0, 6.99, 7.0, 9.999], tf.float64)
    found = compiled(tree.find)(mass)
    np.testing.assert_array_equal(found, [0, 0, 1, 1, 2, 2, 3, 3])
    assert float(tree.total()) == 10.0


def test_leading_leaf_of_priority_zero():
    tree = SumTree(2)
    tree.update([0, 1], [0.0, 1.0])
    assert tree.find([0.0, -3.0]).numpy().tolist() == [1, 1]


@pytest.mark.parametrize("capacity", [3, 5, 9, 1000])
def test_draw_just_below_the_total_stays_inside(capacity):
    rng = np.random.default_rng(0)
    tree = SumTree(capacity)
    filled = capacity - capacity // 3  # the rest was never written
    tree.update(np.arange(filled), rng.random(filled) * 1e-3 + 0.1)
    total = float(tree.total())
    near = total * (1.0 - 2.0 ** -np.arange(20.0, 54.0))
    found = tree.find([*near, total, total * (1 + 1e-9)]).numpy()
    assert found.max() == filled - 1
    assert found.min() >= 0


@xla_in_long_runs
def test_empty_tree_finds_nothing(compiled):
    tree = SumTree(7, track_minimum=True)
    found, priority = compiled(tree.lookup)(tf.constant([0.0, 1.0, np.nan], tf.float64))
    assert found.numpy().tolist() == [-1, -1, -1]
    assert not priority.numpy().any()


@xla_in_long_runs
def test_nan_finds_nothing(compiled):
    tree = SumTree(7)
    tree.assign(np.ones(7))
    found, priority = compiled(tree.lookup)(tf.constant([np.nan, 2.5], tf.float64))
    assert found.numpy().tolist() == [-1, 2]
    assert priority.numpy().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("order", [[5.0, 6.0], [6.0, 5.0]])
def test_largest_duplicate_wins(compiled, order):
    tree = SumTree(3)
    tree.update([0, 1, 2], [1.0, 9.0, 2.0])

    def update(index, priority):
        tree.update(index, priority)
        return 0

    compiled(update)(tf.constant([1, 1]), tf.constant(order, tf.float64))
    assert tree.get([0, 1, 2]).numpy().tolist() == [1.0, 6.0, 2.0]
    assert float(tree.total()) == 9.0


BAD = [(0, -1.0), (0, np.nan), (1, np.inf), (2, -np.inf), (3, 1.0), (-1, 1.0)]


@pytest.mark.parametrize(("index", "priority"), BAD)
def test_illegal_row_is_an_error_that_changes_nothing(index, priority):
    tree = SumTree(3)
    tree.assign([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="Expected leaves in"):
        tree.update([1, index], [7.0, priority])
    assert tree.get([0, 1, 2]).numpy().tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_illegal_rows_in_a_graph_are_counted(jit_compile):
    tree = SumTree(3, track_minimum=True)
    tree.assign([1.0, 2.0, 3.0])

    @tf.function(jit_compile=jit_compile)
    def update(index, priority):
        tree.update(index, priority)
        return 0

    index, priority = zip(*BAD, strict=True)
    update(tf.constant([*index, 1]), tf.constant([*priority, 7.0], tf.float64))
    assert tree.get([0, 1, 2]).numpy().tolist() == [1.0, 7.0, 3.0]
    assert float(tree.total()) == 11.0
    assert float(tree.minimum()) == 1.0
    assert int(tree.refused) == len(BAD)


def test_mask_leaves_rows_out():
    tree = SumTree(3)
    tree.update([0, 1, 7], [1.0, 2.0, np.nan], mask=[True, False, False])
    assert tree.get([0, 1, 2]).numpy().tolist() == [1.0, 0.0, 0.0]
    assert int(tree.refused) == 0


@pytest.mark.parametrize("capacity", [0, -1, 2.5])
def test_capacity_is_checked(capacity):
    with pytest.raises(ValueError, match="`capacity` to be an integer >= 1"):
        SumTree(capacity)


def test_minimum_needs_the_switch():
    with pytest.raises(ValueError, match="track_minimum=True"):
        SumTree(3).minimum()


def test_sums_do_not_drift_over_a_million_updates():
    tree = SumTree(1024)

    @tf.function(jit_compile=True)
    def updates():
        def body(i):
            u = uniform([2, 1000], [i, 0])
            tree.update(tf.cast(u[0] * 1024.0, tf.int32), u[1])
            return (i + 1,)

        return tf.while_loop(lambda i: i < 1000, body, (0,))

    updates()
    total = np.sum(tree.get(np.arange(1024)).numpy())
    np.testing.assert_allclose(tree.total(), total, rtol=1e-13)


def test_draws_follow_the_priorities():
    # 4 to 1, and after a change 6 to 1 and 3 to 1.
    tree = SumTree(4)
    tree.assign([1.0, 4.0, 2.0, 3.0])
    draw = tf.function(lambda seed: tree.find(uniform([10**6], seed) * tree.total()))
    counts = np.bincount(draw(tf.constant([0, 0])).numpy())
    np.testing.assert_allclose(counts / 1e6, [0.1, 0.4, 0.2, 0.3], atol=0.002)
    tree.update([1], [6.0])
    counts = np.bincount(draw(tf.constant([0, 1])).numpy())
    np.testing.assert_allclose(counts / 1e6, np.array([1, 6, 2, 3]) / 12, atol=0.002)


def test_uniform_numbers_are_equal_in_all_modes():
    draw = [
        function(lambda: uniform([20, 50], [3, 4]))()
        for function in (lambda f: f, tf.function, tf.function(jit_compile=True))
    ]
    assert draw[0].shape == (20, 50)
    np.testing.assert_array_equal(draw[0], draw[1])
    np.testing.assert_array_equal(draw[0], draw[2])
    assert np.all((draw[0] > 0.0) & (draw[0] < 1.0))


def test_uniform_numbers_stay_what_they_are():
    # Else a seed means another run with the next version.
    expected = [0.8240785764172701, 0.8981054902442361, 0.3426545081282363]
    np.testing.assert_array_equal(uniform([3], [1, 2]), expected)


def test_uniform_numbers_are_those_of_splitmix64():
    # The first outputs for the start 1234567, as published with the generator.
    published = 6457827717110365317, 3203168211198807973, 9817491932198370423
    start = tf.constant(1234567, tf.uint64)
    count = tf.constant([1, 2, 3], tf.uint64)
    found = _variables._mix(start + count * tf.constant(_variables.GOLDEN, tf.uint64))
    assert tuple(found.numpy().tolist()) == published


@pytest.mark.parametrize("bits", [0, 2**64 - 1])
def test_uniform_numbers_are_inside_the_open_interval(bits, monkeypatch):
    monkeypatch.setattr(_variables, "_mix", lambda _: tf.constant([bits], tf.uint64))
    assert 0.0 < float(uniform([1], [0, 0])[0]) < 1.0


def test_uniform_numbers_of_neighbouring_seeds_are_independent():
    draw = tf.function(uniform, jit_compile=True)
    seeds = [[a, b] for a in range(-1, 15) for b in range(16)]
    table = np.stack([draw([1000], tf.constant(seed)) for seed in seeds])  # [256, 1000]
    for cells in (table * 16, table * 2.0**20 % 16):  # high and low digits
        counts = np.bincount(cells.astype(int).ravel())
        # Chi-square with 15 degrees of freedom: 44 once in ten thousand.
        assert np.sum((counts - 16_000) ** 2 / 16_000) < 44
    along = np.corrcoef(table)[~np.eye(256, dtype=bool)]
    across = np.corrcoef(table.T[:256])[~np.eye(256, dtype=bool)]
    assert np.abs(along).max() < 6 / np.sqrt(1000)
    assert np.abs(across).max() < 6 / np.sqrt(256)
    assert len(np.unique(table)) == table.size
