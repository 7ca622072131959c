"""Tests of `kerasrl2.layers.heads`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.distributions import DiagonalGaussian
from kerasrl2.layers import StateIndependentLogStd
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
