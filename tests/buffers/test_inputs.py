"""What a replay buffer refuses: numbers that are none, indices, sizes, structures."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2._state import state_of
from kerasrl2.buffers import (
    NumpyPrioritizedReplayBuffer,
    NumpyReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SumTree,
    _layout,
)
from kerasrl2.types import Rollout

BUFFERS = [
    ReplayBuffer,
    PrioritizedReplayBuffer,
    NumpyReplayBuffer,
    NumpyPrioritizedReplayBuffer,
]
PRIORITIZED = BUFFERS[1::2]
OFF = [False, False]
STEP = {
    "observation": np.zeros([2, 3], np.float32),
    "action": np.array([0, 1], np.int32),
    "reward": [1.0, 2.0],
    "terminated": OFF,
    "truncated": OFF,
    "next_observation": np.ones([2, 3], np.float32),
}
WRONG = [
    ("reward", [1.0, np.nan], "finite"),
    ("reward", [np.inf, 1.0], "finite"),
    ("reward", [1e39, 1.0], "finite"),
    ("reward", None, "finite|numbers|shape"),
    ("reward", ["1", "2"], "numbers"),
    ("reward", "high", "numbers"),
    ("reward", [1.0], "shape"),
    ("reward", [[1.0], [2.0]], "shape"),
    ("reward", [[1.0], [2.0, 3.0]], "numbers"),
    ("terminated", ["False", "False"], "numbers"),
    ("truncated", [False], "shape"),
    ("valid", [True], "shape"),
    ("action", [0], "shape"),
    ("action", ["a", "b"], "numbers"),
    ("action", {"a": [0, 1]}, "structured"),
    ("observation", [["a"] * 3] * 2, "numbers"),
    ("observation", {"a": STEP["observation"]}, "structured"),
    ("observation", [[1.0], [2.0, 3.0]], "numbers"),
    ("next_observation", (STEP["observation"],) * 2, "structured"),
    ("next_observation", np.zeros([2, 4], np.float32), "shape"),
    ("td_error", [1.0], "shape|no `td_error`"),
    ("td_error", [1.0, np.nan], "finite|no `td_error`"),
    ("td_error", ["a", "b"], "numbers|no `td_error`"),
]


@pytest.fixture(params=BUFFERS)
def make(request):
    return request.param


@pytest.fixture(params=PRIORITIZED)
def make_prioritized(request):
    return request.param


def filled(make, steps=5, **keywords):
    """Five steps of one environment in a buffer for three: 0 and 1 are displaced."""
    buffer = make(3, **keywords)
    for t in range(steps):
        buffer.add([[float(t)]], [t], [1.0], [False], [False], [[t + 1.0]])
    return buffer


@pytest.mark.parametrize(("name", "value", "words"), WRONG, ids=str)
def test_a_wrong_step_is_one_error_and_changes_nothing(make, name, value, words):
    for first in (True, False):
        buffer = make(8)
        if not first:
            buffer.add(**STEP)
        keywords = {**STEP, name: value}
        if make in (ReplayBuffer, NumpyReplayBuffer) or name != "td_error":
            keywords.setdefault("valid", None)
        expected = rf"Expected .*({words})(.|\n)*Received: "
        if first and words == "structured" and name in ("action", "observation"):
            expected = "Expected .*Received: "  # it is what the buffer is built by
            if name == "action":
                continue
        with pytest.raises(ValueError, match=expected):
            buffer.add(**keywords)
        assert (buffer.built, len(buffer)) == ((False, 0) if first else (True, 2))
        buffer.add(**STEP)
        assert len(buffer) == (2 if first else 4)


def test_a_bad_reward_does_not_matter_in_a_row_that_is_not_valid(make):
    buffer = make(8)
    index = buffer.add(**{**STEP, "reward": [1.0, np.nan]}, valid=[True, False])
    assert np.asarray(index).tolist() == [0, -1]


def test_a_rollout_with_a_bad_reward_stores_none_of_its_steps(make):
    zeros, off = np.zeros([3, 2, 4], np.float32), np.zeros([3, 2], bool)
    reward = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, np.nan]], np.float32)
    buffer = make(8)
    with pytest.raises(ValueError, match=r"finite in float32\. Received: reward="):
        buffer.add_rollout(Rollout(zeros, off, reward, off, off, None, zeros))
    assert not buffer.built


# Indices


@pytest.mark.parametrize("index", [-2, 0, 1, 5, 99, 2**40, 2.5, np.nan, "2"])
def test_get_refuses_what_the_buffer_does_not_hold(make, index):
    """Displaced: 0 and 1. Beyond: 5 and 99, which had weight 1."""
    buffer = filled(make)
    with pytest.raises(ValueError, match=r"Expected .*Received: "):
        buffer.get(np.array([2, index]))


def test_get_of_nothing_and_of_all_that_is_held(make):
    batch = filled(make).get([2, -1, 4])
    np.testing.assert_array_equal(batch.weight, [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(np.asarray(batch.action)[[0, 2]], [2, 4])
    weighted = filled(make).get([2, -1, 4], weight=[0.5, 0.5, 0.25])
    np.testing.assert_array_equal(weighted.weight, [0.5, 0.0, 0.25])
    with pytest.raises(ValueError, match=r"`index` \[B\] and `weight` \[B\]"):
        filled(make).get([2, 3], weight=[1.0])
    with pytest.raises(ValueError, match=r"`index` \[B\]"):
        filled(make).get([[2, 3]])


@pytest.mark.parametrize("dtype", [tf.int64, tf.int32, tf.float32])
def test_in_graphs_an_index_of_nothing_has_no_weight(dtype):
    buffer = filled(ReplayBuffer)
    index = tf.constant([2, 0, 99, -5, 4], dtype)
    batch = tf.function(buffer.get)(index)
    np.testing.assert_array_equal(batch.weight, [1.0, 0.0, 0.0, 0.0, 1.0])
    fraction = tf.function(buffer.get)(tf.constant([2.5, 3.0]))
    np.testing.assert_array_equal(fraction.weight, [0.0, 1.0])


@pytest.mark.parametrize("index", [-2, 5, 99, 2**40, 2.5, "2"])
def test_update_priorities_refuses_what_was_never_handed_out(make_prioritized, index):
    buffer = filled(make_prioritized)
    before = np.asarray(buffer.probability([2, 3, 4]))
    with pytest.raises(ValueError, match=r"Expected .*Received: "):
        buffer.update_priorities(np.array([2, index]), [9.0, 9.0])
    np.testing.assert_array_equal(buffer.probability([2, 3, 4]), before)
    assert int(buffer.stale_updates) == 0


@pytest.mark.parametrize(
    ("index", "td_error"),
    [([2, 3, 4], [5.0]), ([2], [5.0, 6.0]), ([2, 3], 5.0), ([[2, 3]], [[1.0, 2.0]])],
)
def test_as_many_errors_as_indices(make_prioritized, index, td_error):
    buffer = filled(make_prioritized)
    before = np.asarray(buffer.probability([2, 3, 4]))
    with pytest.raises(ValueError, match=r"`index` \[B\] and `td_error` \[B\]"):
        buffer.update_priorities(index, td_error)
    np.testing.assert_array_equal(buffer.probability([2, 3, 4]), before)
    if make_prioritized is PrioritizedReplayBuffer:
        update = tf.function(buffer.update_priorities, autograph=False)
        with pytest.raises(ValueError, match=r"`td_error` \[B\]"):
            update(tf.constant(index, tf.int64), tf.constant(td_error))


def test_in_graphs_updates_of_nothing_are_counted():
    buffer = filled(PrioritizedReplayBuffer)
    before = buffer.probability([2, 3, 4]).numpy()
    index = tf.constant([0, 99, -1], tf.int64)
    tf.function(buffer.update_priorities)(index, tf.constant([9.0, 9.0, 9.0]))
    np.testing.assert_array_equal(buffer.probability([2, 3, 4]), before)
    assert int(buffer.stale_updates) == 2


def test_questions_about_indices(make_prioritized):
    buffer = filled(make_prioritized)
    held = buffer.holds([0, 2, 4, 5, -1, 2**40])
    np.testing.assert_array_equal(held, [False, True, True, False, False, False])
    probability = np.asarray(buffer.probability([0, 2, 99, -1]))
    np.testing.assert_allclose(probability, [0.0, 1 / 3, 0.0, 0.0])
    for ask in (buffer.holds, buffer.probability):
        with pytest.raises(ValueError, match=r"whole numbers\. Received: "):
            ask([0.5])


# The tree


@pytest.mark.parametrize(
    ("index", "priority", "mask"),
    [
        ([0, 1, 2], [5.0], None),
        ([0], [5.0, 6.0], None),
        ([0, 1], [5.0, 6.0], [True]),
        ([0.5, 1.0], [5.0, 6.0], None),
        ([0, 2**32], [5.0, 6.0], None),  # it was leaf 0
        ([0, -1], [5.0, 6.0], None),
    ],
)
def test_tree_updates(index, priority, mask):
    tree = SumTree(4)
    with pytest.raises(ValueError, match=r"Expected .*Received: "):
        tree.update(index, priority, mask)
    assert float(tree.total()) == 0.0


def test_tree_questions():
    tree = SumTree(3)
    tree.update([0, 2], [1.0, 2.0])
    for index in (-1, 3, 0.5):
        with pytest.raises(ValueError, match=r"Expected .*Received: "):
            tree.get([0, index])
    graph = tf.function(tree.get)(tf.constant([0, -1, 3, 2]))
    np.testing.assert_array_equal(graph, [1.0, 0.0, 0.0, 2.0])
    for priority in ([1.0, 2.0], [1.0] * 4, 1.0):
        with pytest.raises(ValueError, match=r"shape \(3,\)\. Received: "):
            tree.assign(priority)
    assert float(tree.total()) == 3.0


@pytest.mark.parametrize("track_minimum", [False, True])
def test_a_tree_that_does_not_fit(track_minimum):
    with pytest.raises(ValueError, match=r"a tree that fits .*at most [0-9,]+\.$"):
        SumTree(10**12, track_minimum)


def test_a_tree_beyond_int32(monkeypatch):
    monkeypatch.setattr("kerasrl2.buffers.sum_tree.available_memory", lambda: None)
    with pytest.raises(ValueError, match=r"at most 2\*\*31 nodes"):
        SumTree(2**31)
    assert _layout.available_memory() is not None


# Gamma


@pytest.mark.parametrize("make", BUFFERS[:2])
def test_a_program_does_not_depend_on_the_value_of_gamma(make):
    one, other = make(4, gamma=0.5), make(4, gamma=0.9)
    assert state_of(buffer=one).structure == state_of(buffer=other).structure
    sample = tf.function(lambda: one.sample(1)[1].discount)
    one.add([[0.0]], [0], [1.0], [False], [False], [[1.0]])
    assert float(sample()[0]) == 0.5
    one.gamma = 0.25
    assert float(sample()[0]) == 0.25
    assert (one.gamma, one.get_config()["gamma"]) == (0.25, 0.25)
    with pytest.raises(ValueError, match="`gamma`"):
        one.gamma = 1.5
    assert one.gamma == 0.25
