"""Tests of `kerasrl2.layers.normalization`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.layers import RewardScaling, RunningNormalization
from tests.harness import check_layer, xla_in_long_runs

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def test_are_layers(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
    output = check_layer(lambda **k: RunningNormalization(1e-6, 5.0, **k), x, tmp_path)
    np.testing.assert_allclose(output, x, rtol=1e-5)  # before any update
    image = np.random.default_rng(0).integers(256, size=(2, 4, 4, 1), dtype="u1")
    output = check_layer(RunningNormalization, image, tmp_path)
    np.testing.assert_array_equal(output, image)
    output = check_layer(lambda **k: RewardScaling(0.9, 1e-6, 5.0, **k), x, tmp_path)
    np.testing.assert_allclose(output, x, rtol=1e-5)


@xla_in_long_runs
def test_moments_by_hand(compiled):
    layer = RunningNormalization()
    layer.build([None, 1])
    update = compiled(lambda x: layer.update(x))
    update(tf.constant([[1.0], [2.0], [3.0]]))
    np.testing.assert_allclose([layer.mean[0], layer.variance[0]], [2.0, 2 / 3],
                               rtol=1e-6)  # fmt: skip
    compiled(lambda x: layer.update(x))(tf.constant([[4.0], [5.0]]))
    moments = [layer.mean[0], layer.variance[0], layer.count]
    np.testing.assert_allclose(moments, [3.0, 2.0, 5.0], rtol=1e-6)


def test_normalises_without_learning():
    rng = np.random.default_rng(0)
    x = rng.normal([1e3, -5.0], [10.0, 0.1], size=(50, 8, 2)).astype("f4")
    layer = RunningNormalization()
    layer.build([None, 2])
    for block in np.split(x, 5):  # [10, 8, 2]: rollouts
        layer.update(block)
    weights = [w.numpy().copy() for w in layer.weights]
    y = layer(x.reshape(-1, 2)).numpy()
    np.testing.assert_allclose(y.mean(0), 0.0, atol=1e-2)
    np.testing.assert_allclose(y.std(0), 1.0, rtol=1e-2)
    assert not layer.trainable_weights
    for before, after in zip(weights, layer.weights, strict=True):
        np.testing.assert_array_equal(before, after)
    assert np.max(layer(np.float32([[1e9, 1e9]]))) == 10.0
    assert np.min(layer(np.float32([[-1e9, -1e9]]))) == -10.0


def test_large_observations_survive_half_precision():
    layer = RunningNormalization(dtype="mixed_float16")
    layer.build([None, 1])
    layer.update(np.float32([[1e6], [3e6]]))
    y = layer(np.float32([[1e6], [3e6]]))
    assert y.dtype == tf.float16
    np.testing.assert_allclose(y, [[-1.0], [1.0]], atol=1e-2)


def test_masked_rows_are_not_counted(compiled):
    x = np.random.default_rng(0).normal(size=(5, 3, 2)).astype("f4")
    mask = np.random.default_rng(1).random((5, 3)) < 0.6
    x[~mask] = np.nan
    masked, plain = RunningNormalization(), RunningNormalization()
    for layer in (masked, plain):
        layer.build([None, 2])
    compiled(lambda x, mask: masked.update(x, mask))(tf.constant(x), tf.constant(mask))
    plain.update(x[mask])
    for a, b in zip(masked.weights, plain.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    before = [w.numpy().copy() for w in masked.weights]
    masked.update(x, np.zeros_like(mask))
    for a, b in zip(masked.weights, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_integers_are_not_counted():
    layer = RunningNormalization()
    layer.build([None, 2])
    layer.update(np.ones([3, 2], "uint8"))
    np.testing.assert_array_equal(layer.count, 0.0)


def naive_returns(reward, ended, valid, carry, gamma):
    carry, counted = carry.copy(), []
    for t in range(len(reward)):
        for i in range(len(carry)):
            if valid[t, i]:
                carry[i] = gamma * carry[i] + reward[t, i]
                counted.append(carry[i])
                carry[i] *= not ended[t, i]
    return carry, np.array(counted)


def test_reward_scaling_against_a_loop(compiled):
    rng = np.random.default_rng(0)
    reward = rng.normal(1.0, 3.0, size=(40, 4)).astype("f4")
    ended, valid = rng.random((2, 40, 4)) < np.array([0.2, 0.9])[:, None, None]
    layer = RewardScaling(gamma=0.9)
    layer.build()
    update = compiled(lambda *x: layer.update(*x))
    carry, counted, expected_carry = tf.zeros([4]), [], np.zeros(4)
    for rows in (slice(0, 20), slice(20, 40)):
        block = reward[rows], ended[rows], valid[rows]
        expected_carry, part = naive_returns(*block, expected_carry, 0.9)
        counted = np.concatenate([counted, part])
        first, second, third = map(tf.constant, block)
        carry = update(first, second, carry, third)
        np.testing.assert_allclose(carry, expected_carry, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.variance, counted.var(), rtol=1e-4)
    scaled = layer(reward)
    np.testing.assert_allclose(scaled, reward / counted.std(), rtol=1e-4)
    assert np.all(np.sign(scaled) == np.sign(reward))  # no mean is subtracted


def test_reward_scaling_special_cases():
    layer = RewardScaling(gamma=0.5, clip=2.0)
    layer.build()
    reward, ended = np.array([[4], [2]]), np.array([[True], [False]])
    carry = layer.update(reward, ended, [0.0])  # returns 4, 2: variance 1
    np.testing.assert_allclose(carry, [2.0])
    np.testing.assert_allclose(layer(np.float32([1.0, -9.0])), [1.0, -2.0], rtol=1e-3)


def test_bad_input():
    layer = RunningNormalization()
    with pytest.raises(ValueError, match="before `update`"):
        layer.update(np.zeros([1, 2]))
    layer.build([None, 2])
    with pytest.raises(ValueError, match=r"end in \(2,\)"):
        layer.update(np.zeros([4, 3]))
    with pytest.raises(ValueError, match=r"`mask` of shape \(4,\)"):
        layer.update(np.zeros([4, 2]), mask=np.ones([4, 1]))
    scaling = RewardScaling()
    with pytest.raises(ValueError, match="before `update`"):
        scaling.update(np.zeros([1, 2]), np.zeros([1, 2]), np.zeros(2))
    scaling.build()
    with pytest.raises(ValueError, match="'accumulator'"):
        scaling.update(np.zeros([3, 2]), np.zeros([3, 2]), np.zeros([1]))
    for arguments in ({"epsilon": 0.0}, {"clip": -1.0}):
        for cls in (RunningNormalization, RewardScaling):
            with pytest.raises(ValueError, match=next(iter(arguments))):
                cls(**arguments)
    with pytest.raises(ValueError, match="gamma"):
        RewardScaling(gamma=1.1)


def test_numbers_whose_squares_overflow_are_left_out():
    layer = RunningNormalization()
    layer.build((None, 2))
    layer.update(np.array([[1.0, 2.0], [3.0, 2.0]], np.float32))
    before = [weight.numpy() for weight in layer.weights]
    layer.update(np.array([[1e30, 2.0], [-1e30, 2.0]], np.float32))
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


@pytest.mark.parametrize(
    ("offset", "deviation"), [(1e5, 1.0), (1.7e9, 3600.0), (-1e7, 10.0)]
)
def test_the_first_batch_is_taken_as_it_is(compiled, offset, deviation):
    """No pseudo-count: outputs have deviation 1 wherever the observations are."""
    x = np.random.default_rng(0).normal(offset, deviation, size=(20, 16, 8, 2))
    x = x.astype("f4")
    layer = RunningNormalization()
    layer.build([None, 2])
    update = compiled(lambda x: layer.update(x))
    update(tf.constant(x[0]))
    exact = x[0].reshape(-1, 2).astype("f8")
    np.testing.assert_allclose(layer.mean, exact.mean(0), rtol=1e-7)
    np.testing.assert_allclose(layer.variance, exact.var(0), rtol=1e-3)
    assert float(layer.count) == 128.0
    for block in x[1:]:
        update(tf.constant(block))
    y = layer(x.reshape(-1, 2)).numpy()
    np.testing.assert_allclose(y.mean(0), 0.0, atol=0.05)
    np.testing.assert_allclose(y.std(0), 1.0, rtol=0.01)


def test_the_first_rewards_are_taken_as_they_are():
    layer = RewardScaling(gamma=0.5)
    layer.build()
    reward = np.float32([[1e5 + 1.0], [1e5 - 1.0]])
    layer.update(reward, np.ones([2, 1], bool), [0.0])
    np.testing.assert_array_equal([layer.mean, layer.variance, layer.count],
                                  [1e5, 1.0, 2.0])  # fmt: skip


def test_a_tiny_first_variance_is_not_rounded_away():
    layer = RunningNormalization()
    layer.build([None, 1])
    layer.update(np.float32([[1e-5], [3e-5]]))
    np.testing.assert_allclose(layer.variance, [1e-10], rtol=1e-5)


def test_nothing_before_the_first_batch_changes_nothing():
    layer = RunningNormalization()
    layer.build([None, 1])
    layer.update(np.float32([[np.nan]]), mask=[False])
    moments = [layer.mean[0], layer.variance[0], layer.count]
    np.testing.assert_array_equal(moments, [0.0, 1.0, 0.0])
