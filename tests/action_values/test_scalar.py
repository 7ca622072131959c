"""Action values as numbers, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.action_values import ScalarValues


@pytest.mark.parametrize(
    ("arguments", "loss"),
    [({}, 1.5), ({"delta": 0.5}, 0.875), ({"loss": "squared"}, 2.0)],
)
def test_loss_and_error(arguments, loss):
    """Error 3 - 1 = 2: delta (2 - delta / 2), or half the square."""
    values = ScalarValues(**arguments)
    outputs, action = tf.constant([[7.0, 1.0]]), tf.constant([1])
    got, td_error = values.loss(outputs, action, tf.constant([3.0]))
    assert got.numpy().tolist() == [loss]
    assert td_error.numpy().tolist() == [2.0]


def test_target_of_a_policy_that_is_not_greedy():
    """2 + 0.5 (0.25 * 4 + 0.75 * 8), and the reward alone where it ends."""
    outputs = tf.constant([[4.0, 8.0], [4.0, 8.0]])
    policy, reward = tf.constant([[0.25, 0.75]] * 2), tf.constant([2.0, 2.0])
    target = ScalarValues().target(outputs, policy, reward, tf.constant([0.5, 0.0]))
    assert target.numpy().tolist() == [5.5, 2.0]


def test_half_precision_outputs_are_read_as_float32():
    inputs = keras.Input([3], dtype="float16")
    dense = keras.layers.Dense(2, dtype="float16")
    network = keras.Model(inputs, dense(inputs))
    outputs = ScalarValues().read(network, np.ones([1, 3], np.float16), False)
    assert outputs.dtype == tf.float32
