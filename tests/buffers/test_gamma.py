"""A gamma given to `sample` and `get`, as a number, a tensor or a variable."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import (
    NumpyPrioritizedReplayBuffer,
    NumpyReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
)
from tests.buffers.naive import MODES, Feeder, NaiveReplay, columns_of, wrap
from tests.buffers.test_replay import feed


def powers_of(gamma, n_step):
    return NumpyReplayBuffer(1, n_step=n_step)._powers(gamma)


GAMMAS = [0.0, 0.3, 0.9, 0.99, 0.997, 1.0]


@pytest.mark.parametrize("gamma", GAMMAS)
def test_powers_are_those_of_pow(gamma):
    expected = (gamma ** np.arange(11)).astype(np.float32)
    np.testing.assert_array_equal(powers_of(gamma, 10), expected)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_powers_have_the_same_bits_in_all_modes(dtype):
    gamma = tf.Variable(0.0, dtype=dtype)
    functions = [wrap(mode, lambda: powers_of(gamma, 20)) for mode in MODES[1:]]
    # Not below 0.1: graphs round powers below 1e-38 to 0.
    for value in np.random.default_rng(0).uniform(0.1, 1.0, 50):
        gamma.assign(value)
        expected = powers_of(float(gamma), 20)
        for function in functions:
            np.testing.assert_array_equal(function(), expected)


KINDS = [  # n_step, frame_stack, episode_length: both rings, and one step of each
    (1, 1, None),
    (3, 1, None),
    (1, 1, 4),
    (3, 2, 4),
]


def fill(numpy, prioritized, kind):
    """A buffer whose own gamma is 0.5, and a naive one of gamma 0.9."""
    n_step, stack, episode_length = kind
    classes = [
        [ReplayBuffer, PrioritizedReplayBuffer],
        [NumpyReplayBuffer, NumpyPrioritizedReplayBuffer],
    ]
    buffer = classes[numpy][prioritized](
        24, 2, n_step=n_step, gamma=0.5, frame_stack=stack,
        episode_length=episode_length,
    )  # fmt: skip
    feeder, naive = Feeder(2, stack, seed=1), NaiveReplay(2, n_step, 0.9)
    for _ in range(10):
        rows, valid = feeder.step()
        naive.add(rows, valid)
        buffer.add(*columns_of(rows, valid))
    return buffer, naive


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("numpy", [False, True])
def test_gamma_of_a_call_replaces_the_buffers_own(numpy, prioritized, kind):
    buffer, naive = fill(numpy, prioritized, kind)
    variable = tf.Variable(0.9, dtype=tf.float64)
    for gamma in (0.9, variable, keras.Variable(0.9, dtype="float64")):
        index, batch = buffer.sample(64, seed=[1, 2], gamma=gamma)
        again = buffer.get(index, batch.weight, gamma)
        for one, two in zip(
            tf.nest.flatten(batch), tf.nest.flatten(again), strict=True
        ):
            np.testing.assert_array_equal(one, two)
        expected = [naive.get(i)[2:4] for i in np.asarray(index)]
        rewards, discounts = np.transpose(expected)
        np.testing.assert_allclose(batch.reward, rewards, atol=1e-6)
        np.testing.assert_allclose(batch.discount, discounts, rtol=1e-6)
    own = buffer.get(index)  # the buffer's own is as it was
    nonzero = np.asarray(own.discount)[np.asarray(own.discount) > 0]
    assert set(nonzero) <= {0.5, 0.25, 0.125}
    if not numpy:  # a variable in a graph is read when the graph runs

        @tf.function
        def get(index):
            return buffer.get(index, gamma=variable)

        variable.assign(0.9)
        np.testing.assert_array_equal(get(index).reward, batch.reward)
        np.testing.assert_array_equal(get(index).discount, batch.discount)
        variable.assign(0.5)
        np.testing.assert_array_equal(get(index).discount, own.discount)


@pytest.mark.parametrize("numpy", [False, True])
@pytest.mark.parametrize(
    ("gamma", "message"),
    [
        (1.5, r"`gamma` in \[0.0, 1.0\]"),
        (tf.constant(-0.1), r"`gamma` in \[0.0, 1.0\]"),
        (tf.constant([0.5]), "a scalar tensor"),
        (tf.constant(1), "a scalar tensor"),
        ("0.9", "`gamma` to be a number"),
    ],
)
def test_wrong_gammas_are_refused(numpy, gamma, message):
    buffer = NumpyReplayBuffer(4) if numpy else ReplayBuffer(4)
    feed(buffer, range(2))
    with pytest.raises(ValueError, match=message):
        buffer.sample(2, gamma=gamma)
