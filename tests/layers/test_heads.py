"""Tests of `kerasrl2.layers.heads`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.distributions import DiagonalGaussian, StateDependentGaussian
from kerasrl2.layers import StateDependentNoise, StateIndependentLogStd
from tests.harness import check_layer

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def test_is_a_layer(tmp_path):
    x = np.float32([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    output = check_layer(lambda **k: StateIndependentLogStd(-0.5, **k), x, tmp_path)
    np.testing.assert_array_equal(output, np.hstack([x, np.full([2, 3], -0.5)]))


def test_leading_axes_are_free():
    assert StateIndependentLogStd()(np.zeros([4, 3, 2])).shape == (4, 3, 4)


def test_trains_the_standard_deviation():
    """d log N(a; m, std) / d log std = z**2 - 1, summed over the batch."""
    layer, head = StateIndependentLogStd(0.0), DiagonalGaussian([-1.0], [1.0])
    with tf.GradientTape() as tape:
        log_prob = head.log_prob(layer(tf.zeros([2, 1])), tf.constant([[2.0], [0.0]]))
    (slope,) = tape.gradient(log_prob, layer.trainable_weights)
    np.testing.assert_allclose(slope, [(4 - 1) + (0 - 1)])


def test_bad_input():
    with pytest.raises(ValueError, match="`initial_log_std`"):
        StateIndependentLogStd(float("nan"))


def test_state_dependent_noise_is_scaled_and_shapes_no_features():
    layer = StateDependentNoise(initial_log_std=-1.0)
    mean, features = tf.zeros([2, 3]), tf.ones([2, 16])
    with tf.GradientTape() as tape:
        tape.watch(features)
        parameters = layer((mean, features))
    assert parameters.shape == layer.compute_output_shape(([2, 3], [2, 16]))
    assert tape.gradient(parameters, features) is None
    head = StateDependentGaussian([-1.0] * 3, [1.0] * 3, num_features=16)
    np.testing.assert_allclose(
        head.distribution(parameters).stddev(), np.full([2, 3], np.exp(-1)), rtol=1e-4
    )


def test_equal_seeds_make_the_noise_a_function_of_the_state():
    head = StateDependentGaussian([-1.0], [1.0], num_features=2)
    p = tf.constant([[0.0, 1.0, 0.0]])
    first, again = head.sample(p, [0, 1]), head.sample(p, [0, 1])
    np.testing.assert_array_equal(first, again)
    twice = head.sample(tf.constant([[0.0, 2.0, 0.0]]), [0, 1])
    np.testing.assert_allclose(twice, 2 * first, rtol=1e-6)
    drawn = head.sample(tf.repeat(p, 2000, axis=0), [0, 2])  # each has its own
    assert abs(np.std(drawn) - 1.0) < 0.05
