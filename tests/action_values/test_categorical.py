"""Action values as probabilities of atoms, by hand: atoms -1, 1, 3."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.action_values import CategoricalValues


def logits(*rows):
    """Outputs `[1, A, 3]` of which `rows` are the probabilities."""
    return tf.constant(np.log(rows)[None] + 7.0, tf.float32)


@pytest.fixture
def values():
    return CategoricalValues(num_atoms=3, minimum=-1.0, maximum=3.0)


def test_expected_returns(values):
    outputs = logits([0.5, 0.25, 0.25], [0.2, 0.2, 0.6])
    np.testing.assert_allclose(values.expected(outputs), [[0.5, 1.8]], rtol=1e-5)


def test_target_averages_probabilities(values):
    """Half of each action's, where the next state changes nothing."""
    outputs = logits([0.8, 0.1, 0.1], [0.2, 0.6, 0.2])
    policy = tf.constant([[0.5, 0.5]])
    target = values.target(outputs, policy, tf.zeros(1), tf.ones(1))
    np.testing.assert_allclose(target, [[0.5, 0.35, 0.15]], rtol=1e-5)


@pytest.mark.parametrize(
    ("reward", "discount", "target"),
    [(2.0, 0.0, [0.0, 0.5, 0.5]), (0.5, 0.5, [0.125, 0.675, 0.2])],
)
def test_target_shifts_the_discounted_distribution(values, reward, discount, target):
    """All of it to 2; or to 0, 1 and 2. Neighbours share 0 and 2 evenly."""
    outputs = logits([0.25, 0.35, 0.4], [0.1, 0.1, 0.8])
    step = tf.constant([reward]), tf.constant([discount])
    got = values.target(outputs, tf.constant([[1.0, 0.0]]), *step)
    np.testing.assert_allclose(got, [target], rtol=1e-5, atol=1e-7)


def test_loss_is_the_cross_entropy_and_the_error_its_excess(values):
    """Of the action taken: ln 4, of which ln 2 is the target's own entropy."""
    outputs = logits([0.1, 0.1, 0.8], [0.25, 0.25, 0.5])
    target = tf.constant([[0.5, 0.5, 0.0]])
    loss, td_error = values.loss(outputs, tf.constant([1]), target)
    np.testing.assert_allclose(loss, [np.log(4.0)], rtol=1e-5)
    np.testing.assert_allclose(td_error, [np.log(2.0)], rtol=1e-5)


def test_a_right_prediction_has_no_error(values):
    outputs = logits([0.1, 0.1, 0.8], [0.25, 0.25, 0.5])
    _, td_error = values.loss(outputs, tf.constant([0]), tf.constant([[0.1, 0.1, 0.8]]))
    np.testing.assert_allclose(td_error, [0.0], atol=1e-6)
