"""Buffers count on beyond what 32 bits hold."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import PrioritizedReplayBuffer

pytestmark = pytest.mark.long
KINDS = {  # keywords, shape of an observation, counters of steps, of frames
    "flat": ({"n_step": 3}, (3,), [0, 1], []),
    "frames": ({"n_step": 2, "frame_stack": 2}, (16, 2), [0, 1], [2]),
}


def filled(kind, laps, compiled):
    """A buffer after 40 steps, `laps` rounds of its rings later than another."""
    hyperparameters, shape, steps, frames = KINDS[kind]
    buffer = PrioritizedReplayBuffer(24, 2, seed=0, beta_steps=10**6, **hyperparameters)
    buffer.build(tf.TensorSpec(shape, tf.float32), tf.TensorSpec([], tf.int32))
    ring = buffer._ring
    columns = ring._columns.numpy()
    columns[steps] += laps * ring.layout.steps
    if frames:
        columns[frames] += laps * ring.layout.frames
    ring._columns.assign(columns)
    rng, now = np.random.default_rng(0), np.zeros([2, *shape], "f4")
    add = compiled(buffer.add)
    for step in range(40):
        following = rng.normal(size=now.shape).astype("f4")
        ended = tf.constant([step % 7 == 6, step % 11 == 10])
        reward = rng.normal(size=2).astype("f4")
        action, off = tf.constant([step, -step]), tf.zeros([2], tf.bool)
        add(tf.constant(now), action, tf.constant(reward), off, ended, following)
        now = following
    return buffer


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_two_to_the_31_transitions(kind, compiled):
    first = filled(kind, 0, compiled)
    laps = 2**31 // first.layout.steps + 1
    later = filled(kind, laps, compiled)
    shift = laps * first.layout.steps * 2
    assert int(later.added()) == int(first.added()) + shift > 2**32

    def learning(buffer):
        def step(seed):
            index, batch = buffer.sample(16, seed)
            buffer.update_priorities(index, batch.reward)
            return index, batch

        return compiled(step)

    steps = [learning(buffer) for buffer in (first, later)]
    for draw in range(5):
        pairs = [step(tf.constant([draw, 1])) for step in steps]
        (index, batch), (later_index, later_batch) = pairs
        np.testing.assert_array_equal(later_index, index + shift)
        for a, b in zip(*map(tf.nest.flatten, (batch, later_batch)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert int(first.stale_updates) == int(later.stale_updates) == 0
