"""The two rings, of whole transitions and of observations, and draws from a tree."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import (
    NumpyPrioritizedReplayBuffer,
    NumpyReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
)
from tests.buffers.naive import MODES, as_arguments, wrap
from tests.buffers.test_replay import SCALAR, feed, of

BUFFERS = (
    ReplayBuffer,
    PrioritizedReplayBuffer,
    NumpyReplayBuffer,
    NumpyPrioritizedReplayBuffer,
)


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.mark.parametrize("episode_length", [None, 1])
def test_an_end_is_followed_by_another_episode(mode, episode_length):
    """Even if the observation looks as if the episode went on."""
    buffer = of(mode)(9, n_step=3, gamma=1.0, episode_length=episode_length)
    buffer.build(*SCALAR)
    add = wrap(mode, buffer.add)
    row = np.ones([1, 1], np.float32)
    flags = [(False, False), (True, False), (False, False), (False, True)]
    for end in [*flags, (False, False)]:
        fields = [row, np.zeros([1], np.int32), np.ones([1], np.float32)]
        fields += [np.array([end[0]]), np.array([end[1]]), row, np.array([True])]
        add(*as_arguments(mode, fields))
    [index] = as_arguments(mode, [np.arange(5)])
    batch = wrap(mode, buffer.get)(index)
    np.testing.assert_array_equal(batch.reward, [2.0, 1.0, 2.0, 1.0, 1.0])
    np.testing.assert_array_equal(batch.discount, [0.0, 0.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("episode_length", [None, 1])
@pytest.mark.parametrize("make", [NumpyReplayBuffer, ReplayBuffer])
def test_an_episode_begins_where_any_part_jumps(make, episode_length):
    buffer = make(9, n_step=9, gamma=1.0, episode_length=episode_length)

    def part(t, jumps):
        return {"a": np.array([[t, t + jumps[0]]]), "b": np.array([t + jumps[1]])}

    jumps = [(0, 0), (0, 0), (0, 7), (0, 7), (9, 7)]
    for t, jump in enumerate(jumps):
        now, then = part(t, jump), part(t + 1, jump)
        buffer.add(now, [t], [1.0], [False], [False], then)
    reward = buffer.get(np.arange(5)).reward
    np.testing.assert_array_equal(reward, [2.0, 1.0, 2.0, 1.0, 1.0])


@pytest.mark.parametrize("make", BUFFERS)
def test_clear_of_a_ring_of_frames(make):
    buffer = make(5, n_step=2, gamma=1.0, frame_stack=2, episode_length=2)

    def add(t):
        now, then = np.array([[[t - 1, t]], [[t, t + 1]]], np.float32)
        return int(buffer.add(now, [t], [1.0], [False], [False], then)[0])

    for t in range(12):
        add(t)
    buffer.clear()
    for t in range(12, 18):
        assert add(t) == t
        assert len(buffer) == min(t - 11, 5)
        held = np.arange(max(12, t - 4), t + 1)
        np.testing.assert_array_equal(np.unique(buffer.sample(99)[0]), held)
    buffer.clear()
    add(18)
    # The first frame after it repeats, although the episode went on.
    np.testing.assert_array_equal(buffer.get([18]).observation, [[18.0, 18.0]])


@pytest.mark.parametrize("make", BUFFERS)
def test_episodes_as_short_as_promised_leave_room_for_the_capacity(make):
    buffer = make(5, episode_length=2)
    for t in range(1, 24):
        ends = t % 2 == 0
        now, then = np.array([[[t]], [[t + 1 - ends / 2]]], np.float32)
        buffer.add(now, [t], [1.0], [ends], [False], then)
        assert len(buffer) == min(t, 5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_refused_first_error_leaves_the_largest_priority(jit_compile):
    buffer = PrioritizedReplayBuffer(4, 2, alpha=1.0, epsilon=0.0)
    buffer.build(*SCALAR)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def add(td_error):
        row, off = tf.zeros([2, 1]), tf.zeros([2], tf.bool)
        fields = row, tf.zeros([2], tf.int32), row[:, 0], off, off, row
        return buffer.add(*fields, td_error=td_error)

    add(tf.constant([3.0, np.nan]))
    np.testing.assert_array_equal(buffer.probability([0, 1]), [0.75, 0.25])
    add(tf.constant([np.inf, -6.0]))
    np.testing.assert_allclose(
        buffer.probability([0, 1, 2, 3]), np.array([3.0, 1.0, 3.0, 6.0]) / 13.0
    )
    assert int(buffer.refused_updates) == 2
    assert float(buffer.max_priority) == 6.0


@pytest.mark.parametrize("make", BUFFERS)
def test_minus_one_names_nothing(make):
    buffer = make(4)
    feed(buffer, range(2))
    np.testing.assert_array_equal(
        buffer.holds([-1, 0, 1, 2, -5]), [False, True, True, False, False]
    )
    np.testing.assert_array_equal(buffer.get([-1, 1]).weight, [0.0, 1.0])
    if hasattr(buffer, "probability"):
        buffer.update_priorities([-1], [99.0])
        np.testing.assert_array_equal(
            buffer.probability([-1, 0, 1, 3]), [0.0, 0.5, 0.5, 0.0]
        )


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.long)]
)
@pytest.mark.parametrize(("num_envs", "n_step"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("make", BUFFERS[:2])
def test_empty_buffer_in_a_graph(make, num_envs, n_step, jit_compile):
    buffer = make(6, num_envs, n_step=n_step)
    buffer.build(*SCALAR)
    sample = tf.function(lambda seed: buffer.sample(3, seed), jit_compile=jit_compile)
    row = np.zeros([num_envs, 1], np.float32)
    no, one = [False] * num_envs, [1] * num_envs
    for _ in range(2):  # never filled, and cleared
        index, batch = sample(tf.constant([1, 2]))
        np.testing.assert_array_equal(index, [-1, -1, -1])
        np.testing.assert_array_equal(batch.weight, [0.0, 0.0, 0.0])
        buffer.add(row, one, row[:, 0], no, no, row)
        buffer.add(row, one, row[:, 0], no, no, row)
        buffer.clear()


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("make", [NumpyReplayBuffer, ReplayBuffer])
def test_draws_at_both_edges(make, num_envs):
    buffer = make(4 * num_envs, num_envs)
    row, no = np.zeros([num_envs, 1], np.float32), [False] * num_envs
    for _ in range(6):
        buffer.add(row, [0] * num_envs, row[:, 0], no, no, row)
    found = buffer._ring.positions(np.array([0.0, np.nextafter(1.0, 0.0)]))
    np.testing.assert_array_equal(found, [2 * num_envs, 6 * num_envs - 1])


def test_bytes_are_those_of_the_variables():
    # Per transition: action 8, reward 4, flags 4 and two observations of 12.
    buffer = ReplayBuffer(10_000)
    buffer.build(tf.TensorSpec([3], tf.float32), tf.TensorSpec([2], tf.float32))
    assert buffer.nbytes == 10_000 * 40
    held = sum(int(np.prod(v.shape)) * v.dtype.size for v in buffer.variables)
    np.testing.assert_allclose(held, buffer.nbytes, rtol=1e-3)
    other = NumpyReplayBuffer(10_000)  # a record of 8, a frame more
    other.build(tf.TensorSpec([3], tf.float32), tf.TensorSpec([2], tf.float32))
    assert other.nbytes == 10_000 * 44 + 12


@pytest.mark.long
def test_chi_square_of_draws_from_a_large_tree():
    buffer = PrioritizedReplayBuffer(1000, alpha=1.0, epsilon=0.0, stratified=False)
    feed = tf.function(buffer.add, jit_compile=True)
    buffer.build(tf.TensorSpec([1], tf.float32), tf.TensorSpec([], tf.int32))
    errors = np.random.default_rng(0).integers(1, 10, 1000).astype(float)
    for t in range(1000):
        row = tf.fill([1, 1], float(t))
        off = tf.constant([False])
        feed(row, tf.constant([t]), tf.zeros([1]), off, off, row + 1.0)
    buffer.update_priorities(np.arange(1000), errors)
    for seed in range(3):
        index = buffer.sample(400_000, seed=[seed, 7])[0]
        counts, expected = np.bincount(index), 4e5 * errors / errors.sum()
        # 999 degrees of freedom: 1 143 once in a thousand, 861 as well below.
        assert 861 < np.sum((counts - expected) ** 2 / expected) < 1143
