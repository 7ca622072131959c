"""One suite for the prioritized buffers of both back ends."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import NumpyPrioritizedReplayBuffer, PrioritizedReplayBuffer
from tests.buffers.naive import Feeder, as_arguments, columns_of, wrap
from tests.buffers.test_replay import feed

HAND = [1.0, 4.0, 2.0, 3.0]


@pytest.fixture(params=[NumpyPrioritizedReplayBuffer, PrioritizedReplayBuffer])
def make(request):
    return request.param


def filled(make, errors, **arguments):
    """A buffer whose transition `i` has the TD error `errors[i]`."""
    buffer = make(len(errors), **{"epsilon": 0.0, **arguments})
    feed(buffer, range(len(errors)))
    buffer.update_priorities(np.arange(len(errors)), np.array(errors))
    return buffer


def weights_of(buffer, seed=(0, 0), batch_size=512):
    """`{index: weight}` of what is drawn."""
    index, batch = buffer.sample(batch_size, seed=list(seed))
    weights = dict(
        zip(np.asarray(index).tolist(), np.asarray(batch.weight), strict=True)
    )
    np.testing.assert_array_equal(batch.action, index)
    return [float(weights[i]) for i in sorted(weights)]


PROPORTIONAL = [
    (1.0, [0.1, 0.4, 0.2, 0.3]),
    (0.5, [0.162700, 0.325401, 0.230093, 0.281805]),
    (0.6, [0.148230, 0.340542, 0.224674, 0.286555]),
    (0.0, [0.25, 0.25, 0.25, 0.25]),
]


@pytest.mark.parametrize(("alpha", "probability"), PROPORTIONAL)
@pytest.mark.parametrize("stratified", [True, False])
def test_proportional(make, alpha, probability, stratified):
    errors = np.array(HAND) * [1, -1, 1, -1]  # the sign does not count
    buffer = filled(make, errors, alpha=alpha, stratified=stratified)
    np.testing.assert_allclose(buffer.probability([0, 1, 2, 3]), probability, atol=1e-6)
    index, _ = buffer.sample(10**6, seed=[3, 4])
    found = np.bincount(np.asarray(index)) / 1e6
    np.testing.assert_allclose(found, probability, atol=0.002)


RANKED = [
    (1.0, [0.12, 0.48, 0.24, 0.16]),
    (0.7, [0.154164, 0.406841, 0.250440, 0.188556]),
]


@pytest.mark.parametrize(("alpha", "probability"), RANKED)
def test_rank_based(make, alpha, probability):
    buffer = filled(make, [0.5, -4.0, 2.0, 1.0], alpha=alpha, prioritization="rank")
    found = np.bincount(np.asarray(buffer.sample(200_000, seed=[0, 5])[0])) / 2e5
    np.testing.assert_allclose(buffer.probability([0, 1, 2, 3]), probability, atol=1e-6)
    np.testing.assert_allclose(found, probability, atol=0.004)


def test_rank_between_two_sorts_is_that_of_the_last_sort(make):
    errors = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    buffer = filled(make, errors, alpha=1.0, prioritization="rank", sort_every=3)
    buffer.sample(4, seed=[0, 0])  # sorts
    harmonic = np.sum(1 / np.arange(1.0, 9.0))
    np.testing.assert_allclose(
        buffer.probability(np.arange(8)), 1 / np.arange(1.0, 9.0) / harmonic
    )
    buffer.update_priorities([7], [6.5])
    buffer.sample(4, seed=[0, 0])  # not yet sorted again: 1/3 twice
    expected = 1 / np.array([1, 2, 3, 4, 5, 6, 7, 3.0])
    np.testing.assert_allclose(
        buffer.probability(np.arange(8)), expected / expected.sum()
    )
    buffer.update_priorities([0, 0], [8.0, 8.5])
    buffer.sample(4, seed=[0, 0])
    expected = 1 / np.array([1, 2, 4, 5, 6, 7, 8, 3.0])
    np.testing.assert_allclose(
        buffer.probability(np.arange(8)), expected / expected.sum()
    )


def test_new_transitions_rank_first(make):
    buffer = filled(
        make, [4.0, 3.0, 2.0, 1.0], alpha=1.0, prioritization="rank", sort_every=1
    )
    feed(buffer, [4])  # displaces the first
    buffer.sample(4, seed=[0, 0])
    expected = np.array([2.0, 3.0, 4.0, 1.0])
    np.testing.assert_allclose(
        buffer.probability([1, 2, 3, 4]), 1 / expected / np.sum(1 / expected)
    )


@pytest.mark.parametrize(
    ("error", "epsilon", "priority"),
    [
        (0.0, 0.01, 0.063096), (0.5, 0.01, 0.667640), (1.0, 0.01, 1.005988),
        (2.0, 0.01, 1.520259), (-2.0, 0.01, 1.520259), (-0.01, 0.01, 0.095635),
    ],
)  # fmt: skip
def test_epsilon_is_added_to_the_size_before_alpha(make, error, epsilon, priority):
    # The other one: 2 ** 0.6 = 1.515717, with an epsilon of its own included.
    buffer = filled(make, [error, 2.0 - epsilon], alpha=0.6, epsilon=epsilon)
    ratio = priority / (priority + 2.0**0.6)
    np.testing.assert_allclose(buffer.probability([0]), [ratio], atol=1e-6)


def test_clipped_priorities_of_the_first_text(make):
    # (min(|delta|, 1) + 0.01) ** 0.6, with the errors clipped by the caller.
    errors = np.minimum([0.0, 0.5, 1.0, 2.0], 1.0)
    buffer = filled(make, errors, alpha=0.6, epsilon=0.01)
    priority = np.array([0.063096, 0.667640, 1.005988, 1.005988])
    found = np.asarray(buffer.probability(np.arange(4)))
    np.testing.assert_allclose(found, priority / priority.sum(), atol=1e-6)


WEIGHTS = [  # P of [1, 4, 2, 3]; divided by the largest of all four
    (1.0, 1.0, [1.0, 0.25, 0.5, 0.333333]),
    (1.0, 0.5, [1.0, 0.5, 0.707107, 0.577350]),
    (0.6, 0.4, [1.0, 0.716978, 0.846745, 0.768229]),
    (1.0, 0.0, [1.0, 1.0, 1.0, 1.0]),
]


@pytest.mark.parametrize("normalization", ["batch", "buffer"])
@pytest.mark.parametrize(("alpha", "beta", "weight"), WEIGHTS)
def test_weights(make, normalization, alpha, beta, weight):
    arguments = {"alpha": alpha, "beta": beta, "normalization": normalization}
    found = weights_of(filled(make, HAND, **arguments))
    np.testing.assert_allclose(found, weight, atol=1e-6)


@pytest.mark.parametrize(
    ("alpha", "beta", "normalization", "weight"),
    [
        (1.0, 1.0, "batch", [0.75, 1.0]),
        (0.6, 0.4, "batch", [0.933286, 1.0]),
        (1.0, 1.0, "buffer", [0.25, 0.333333]),
        (0.6, 0.4, "buffer", [0.716978, 0.768229]),
    ],
)
def test_weights_of_a_batch_without_the_rarest(
    make, alpha, beta, normalization, weight, monkeypatch
):
    buffer = filled(make, HAND, alpha=alpha, beta=beta, normalization=normalization)
    leaves = np.power(HAND, alpha)
    rows = np.array([1, 3], np.int32)
    if make is PrioritizedReplayBuffer:
        drawn = tf.constant(rows), tf.constant(leaves[rows])
        monkeypatch.setattr(buffer.tree, "lookup", lambda mass: drawn)
    else:
        monkeypatch.setattr(buffer, "_find", lambda mass: rows)
    index, batch = buffer.sample(2)
    np.testing.assert_array_equal(index, [1, 3])
    np.testing.assert_allclose(batch.weight, weight, atol=1e-6)


def test_weights_follow_the_formula_with_n_while_filling(make):
    # Raw (N P)^-1 of [1, 4, 2, 3] is [2.5, 0.625, 1.25, 0.8333] for N = 4.
    buffer = make(100, alpha=1.0, beta=1.0, epsilon=0.0, normalization="buffer")
    feed(buffer, range(4))
    buffer.update_priorities(np.arange(4), np.array(HAND))
    raw = 1 / (len(buffer) * np.asarray(buffer.probability(np.arange(4))))
    np.testing.assert_allclose(raw, [2.5, 0.625, 1.25, 0.833333], atol=1e-6)
    np.testing.assert_allclose(weights_of(buffer), raw / raw.max(), atol=1e-6)
    # With beta = 1 the weighted mean over P is the plain mean, before normalising.
    gradient = np.array([0.3, -1.0, 2.0, 5.0])
    probability = np.asarray(buffer.probability(np.arange(4)))
    np.testing.assert_allclose(
        np.sum(probability * raw * gradient), gradient.mean(), atol=1e-7
    )


def test_beta_rises_without_a_jump(make):
    buffer = make(4, beta=0.4, beta_steps=100)
    feed(buffer, range(4))
    betas, sample = [], buffer.sample
    if isinstance(buffer, tf.Module):
        sample = tf.function(buffer.sample)
    for _ in range(103):
        betas.append(float(buffer.beta()))
        sample(1, seed=np.array([0, 0]))
    np.testing.assert_allclose([betas[0], betas[50]], [0.4, 0.7])
    assert betas[100:] == [1.0, 1.0, 1.0]
    assert np.all(np.diff(betas) <= 0.006 + 1e-9)
    assert np.all(np.diff(betas)[:100] > 0.0)


def test_beta_over_the_training_length(make):
    buffer, fixed = make(4), make(4, beta_steps=5)
    for each in (buffer, fixed):
        feed(each, range(4))
        each.sample(1)
    assert float(buffer.beta()) == pytest.approx(0.4)  # nobody said how long
    buffer.set_training_length(10)
    fixed.set_training_length(10)
    assert float(buffer.beta()) == pytest.approx(0.46)
    assert float(fixed.beta()) == pytest.approx(0.52)
    buffer.set_training_length(5)  # instead of 10
    assert float(buffer.beta()) == pytest.approx(0.52)
    with pytest.raises(ValueError, match="num_samples"):
        buffer.set_training_length(0)


def test_new_transitions_get_the_running_maximum(make):
    buffer = make(4, alpha=1.0, epsilon=0.0)
    feed(buffer, range(2))
    np.testing.assert_allclose(buffer.probability([0, 1]), [0.5, 0.5])
    buffer.update_priorities([0, 1], [0.5, 0.25])
    feed(buffer, [2])  # 1, not 0.5: as in the paper
    np.testing.assert_allclose(buffer.probability([2]), [1 / 1.75])
    buffer.update_priorities([0], [7.0])
    buffer.update_priorities([0], [0.5])
    feed(buffer, [3])
    assert float(buffer.max_priority) == 7.0
    np.testing.assert_allclose(buffer.probability([3]), [7 / 8.75])


def test_actors_may_give_first_td_errors(make):
    buffer = make(8, num_envs=3, alpha=1.0, epsilon=0.5)
    row, flag = np.zeros([3, 1], np.float32), [False] * 3
    valid = [True, False, True]
    fields = (row, [0] * 3, [0.0] * 3, flag, flag, row, valid)
    buffer.add(*fields, td_error=np.array([1.0, 50.0, -2.5]))
    np.testing.assert_allclose(buffer.probability([0, 1, 2]), [1 / 3, 0.0, 2 / 3])
    assert float(buffer.max_priority) == 3.0
    with pytest.raises(ValueError, match="Expected finite TD errors"):
        buffer.add(*fields, td_error=np.array([1.0, np.nan, 1.0]))
    assert len(buffer) == 2


def test_stale_updates_are_dropped_and_counted(make):
    buffer = filled(make, HAND, alpha=1.0)
    index = np.asarray(buffer.sample(64, seed=[0, 0])[0])
    feed(buffer, [4, 5])  # displaces 0 and 1
    before = np.asarray(buffer.probability([2, 3, 4, 5]))
    stale = int(np.sum(index < 2))
    assert 0 < stale < 64
    buffer.update_priorities(index[index < 2], np.full(stale, 100.0))
    np.testing.assert_array_equal(buffer.probability([2, 3, 4, 5]), before)
    assert int(buffer.stale_updates) == stale
    assert float(buffer.max_priority) == 4.0
    buffer.update_priorities([-1, 2], [9.0, 9.0])  # what an empty graph draw gives
    assert int(buffer.stale_updates) == stale
    buffer.clear()
    buffer.update_priorities([2, 3], [1.0, 1.0])
    assert int(buffer.stale_updates) == stale + 2
    assert np.all(np.asarray(buffer.probability([0, 1, 2, 3])) == 0.0)


def test_largest_of_duplicates_wins(make):
    buffer = filled(make, HAND, alpha=1.0)
    buffer.update_priorities([1, 1, 1], [3.0, -6.0, 5.0])
    np.testing.assert_allclose(
        buffer.probability([0, 1, 2, 3]), np.array([1, 6, 2, 3]) / 12
    )


@pytest.mark.parametrize("prioritization", ["proportional", "rank"])
def test_td_errors_that_are_not_finite(make, prioritization):
    bad_values = [np.nan, np.inf, -np.inf]
    buffer = filled(make, HAND, alpha=1.0, prioritization=prioritization)
    buffer.sample(2, seed=[0, 0])
    before = np.asarray(buffer.probability([0, 1, 2, 3]))
    for bad in bad_values:
        with pytest.raises(ValueError, match="Expected finite TD errors"):
            buffer.update_priorities([0, 1], [5.0, bad])
        np.testing.assert_array_equal(buffer.probability([0, 1, 2, 3]), before)
    if make is NumpyPrioritizedReplayBuffer:
        return
    for jit_compile in (False, True):

        @tf.function(jit_compile=jit_compile)
        def update(index, error):
            buffer.update_priorities(index, error)
            return 0

        for bad in bad_values:
            update(tf.constant([1, 0], tf.int64), tf.constant([bad, 1.0], tf.float64))
            if prioritization == "proportional":
                np.testing.assert_array_equal(buffer.probability([0, 1, 2, 3]), before)
    assert int(buffer.refused_updates) == 6
    assert float(buffer.max_priority) == 4.0
    assert np.isfinite(buffer.tree.total())


def test_without_a_positive_priority(make):
    buffer = filled(make, [0.0, 0.0], alpha=1.0)
    with pytest.raises(ValueError, match="Expected a positive priority"):
        buffer.sample(2)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("alpha", -0.1), ("beta", 1.5), ("epsilon", -1.0), ("beta_steps", 0),
        ("normalization", "bacth"), ("prioritization", "ranks"), ("sort_every", 0),
    ],
)  # fmt: skip
def test_arguments_are_checked(make, argument, value):
    with pytest.raises(ValueError, match=argument):
        make(3, **{argument: value})


def test_clear(make):
    buffer = filled(make, HAND)
    buffer.clear()
    with pytest.raises(ValueError, match="Expected a buffer with transitions"):
        buffer.sample(1)
    feed(buffer, [4, 5])
    drawn = np.unique(np.asarray(buffer.sample(50, seed=[0, 1])[0]))
    np.testing.assert_array_equal(drawn, [4, 5])


@pytest.mark.parametrize(
    ("mode", "prioritization"),
    [
        *itertools.product(["numpy", "eager"], ["proportional", "rank"]),
        pytest.param("xla", "proportional", marks=pytest.mark.long),
        pytest.param("graph", "rank", marks=pytest.mark.long),
        pytest.param("xla", "rank", marks=pytest.mark.long),
        pytest.param("graph", "proportional", marks=pytest.mark.long),
    ],
)
def test_tree_stays_right_over_random_episodes(mode, prioritization):
    """Each held transition has its priority, no other row has any."""
    num_envs, alpha, epsilon = 2, 0.7, 0.1
    make = NumpyPrioritizedReplayBuffer if mode == "numpy" else PrioritizedReplayBuffer
    buffer = make(
        18, num_envs, frame_stack=3, episode_length=4, n_step=2, alpha=alpha,
        epsilon=epsilon, prioritization=prioritization, sort_every=1,
        normalization="buffer", stratified=False,
    )  # fmt: skip
    buffer.build(tf.TensorSpec([3], tf.float32), tf.TensorSpec([], tf.int32))

    def sample(seed):
        return buffer.sample(8, seed)

    def update(index, error):
        buffer.update_priorities(index, error)
        return 0

    add, sample, update = (wrap(mode, f) for f in (buffer.add, sample, update))
    feeder, rng = Feeder(num_envs, 3, seed=1, jumps=0.05), np.random.default_rng(0)
    expected, largest = {}, 1.0
    for time in range(8 if mode == "eager" else 30):
        rows, valid = feeder.step()
        index = add(*as_arguments(mode, columns_of(rows, valid)))
        expected |= {int(i): largest for i in np.asarray(index) if i >= 0}
        if not expected:
            continue
        index, batch = sample(*as_arguments(mode, [np.array([time, 1], np.int32)]))
        index = np.asarray(index)
        added = np.array(list(expected))
        held = added[np.asarray(buffer.holds(added))].tolist()
        assert set(index.tolist()) <= set(held)
        keys = np.array([expected[i] for i in held])
        priority = keys**alpha
        if prioritization == "rank":
            row = np.asarray(buffer._ring.row_of(np.array(held)))
            order = np.lexsort([row, -keys])  # equal keys by row
            priority = np.empty(len(keys))
            priority[order] = np.arange(1.0, len(keys) + 1.0) ** -alpha
        share = priority / priority.sum()
        np.testing.assert_allclose(buffer.probability(np.array(held)), share, rtol=1e-9)
        leaf = dict(zip(held, priority, strict=True))
        weight = (priority.min() / np.array([leaf[i] for i in index])) ** 0.4
        np.testing.assert_allclose(batch.weight, weight, rtol=1e-5)
        error = rng.normal(size=8)
        update(*as_arguments(mode, [index, error]))
        for i in set(index.tolist()):
            expected[i] = np.abs(error[index == i]).max() + epsilon
            largest = max(largest, expected[i])
    assert int(buffer.stale_updates) == 0
