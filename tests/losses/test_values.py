"""Tests of `kerasrl2.losses.values`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.losses import clipped_value_loss, huber, squared_error, value_loss


def test_golden_huber(compiled, golden):
    file = golden("losses")
    error = tf.constant(np.array(file["outputs"]["double_q_td_error"]))
    result = compiled(lambda error: huber(error, file["huber_delta"]))(error)
    np.testing.assert_allclose(result, file["outputs"]["huber_of_double_q"], rtol=1e-9)


@pytest.mark.parametrize(
    ("delta", "values", "slopes"),
    [  # errors -3, -1, 0, 0.5, 2
        (1.0, [2.5, 0.5, 0.0, 0.125, 1.5], [-1.0, -1.0, 0.0, 0.5, 1.0]),
        (2.0, [4.0, 0.5, 0.0, 0.125, 2.0], [-2.0, -1.0, 0.0, 0.5, 2.0]),
    ],
)
def test_huber_by_hand(compiled, delta, values, slopes):
    error = tf.constant([-3.0, -1.0, 0.0, 0.5, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(error)
        result = compiled(lambda error: huber(error, delta))(error)
    np.testing.assert_allclose(result, values)
    np.testing.assert_allclose(tape.gradient(result, error), slopes)


def test_huber_of_huge_errors_has_a_finite_slope():
    error = tf.constant([1e30])
    with tf.GradientTape() as tape:
        tape.watch(error)
        result = huber(error)
    np.testing.assert_allclose(result, [1e30])
    np.testing.assert_array_equal(tape.gradient(result, error), [1.0])


def test_value_losses_by_hand(compiled):
    """V = 1, R = 3: squared error 4, half of it 2 with slope V - R, Huber 1.5."""
    value, target = tf.constant([1.0]), tf.constant([3.0])
    with tf.GradientTape() as tape:
        tape.watch([value, target])
        result = compiled(value_loss)(value, target)
    slopes = tape.gradient(result, [value, target], unconnected_gradients="zero")
    np.testing.assert_array_equal(result, [2.0])
    np.testing.assert_array_equal(slopes, [[-2.0], [0.0]])
    np.testing.assert_array_equal(compiled(squared_error)(value, target), [4.0])
    np.testing.assert_array_equal(compiled(huber)(value - target), [1.5])


@pytest.mark.parametrize(
    ("value", "target", "loss", "slope"),
    [  # the old value is 0, the range 1
        (0.5, 3.0, 3.125, -2.5),  # inside: the plain loss
        (2.0, 3.0, 2.0, 0.0),  # too far towards the target: the clipped error counts
        (-2.0, 3.0, 12.5, -5.0),  # too far away from it: pulled back
        (2.0, 0.0, 2.0, 2.0),  # the target is the old value: pulled back
    ],
)
def test_clipped_value_loss_by_hand(compiled, value, target, loss, slope):
    inputs = [tf.constant([value]), tf.constant([0.0]), tf.constant([target])]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = compiled(lambda *x: clipped_value_loss(*x, clip_range=1.0))(*inputs)
    slopes = tape.gradient(result, inputs, unconnected_gradients="zero")
    np.testing.assert_allclose(result, [loss])
    np.testing.assert_allclose(slopes, [[slope], [0.0], [0.0]])


def test_bad_input():
    returns, values = tf.constant([1.0, 3.0]), tf.constant([[1.0], [3.0]])
    for loss in (value_loss, squared_error):
        with pytest.raises(ValueError, match=r"'value': \(2, 1\), 'target': \(2,\)"):
            loss(values, returns)
    with pytest.raises(ValueError, match="one shape"):
        clipped_value_loss(returns, values, returns)
    with pytest.raises(ValueError, match="`clip_range` in"):
        clipped_value_loss(returns, returns, returns, clip_range=0.0)
    with pytest.raises(ValueError, match="`delta` in"):
        huber(returns, delta=0.0)
