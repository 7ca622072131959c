"""Action values as quantiles, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.action_values import ImplicitQuantileValues, QuantileValues


def linear(inputs, training):
    """A network whose quantile at fraction `f` is `f` for action 0, `10 f` for 1."""
    assert not training
    return tf.stack([inputs[1], 10.0 * inputs[1]], axis=1)


class TestQuantileValues:
    def test_target_shifts_every_quantile(self):
        """1 + 0.5 [5, 9] of the action that is taken; the reward where it ends."""
        outputs = tf.constant([[[1.0, 3.0], [5.0, 9.0]]] * 2)
        policy, reward = tf.constant([[0.0, 1.0]] * 2), tf.constant([1.0, 1.0])
        values = QuantileValues(num_quantiles=2)
        target = values.target(outputs, policy, reward, tf.constant([0.5, 0.0]))
        assert target.numpy().tolist() == [[3.5, 5.5], [1.0, 1.0]]

    @pytest.mark.parametrize(("delta", "loss"), [(1.0, 0.5), (0.5, 0.3125)])
    def test_loss_and_error(self, delta, loss):
        """Errors 2 and -1 at fractions 1/4 and 3/4: both weigh 1/4.

        With delta 1: (1.5 + 0.5) / 4, with 1/2: (0.875 + 0.375) / 4.
        """
        values = QuantileValues(num_quantiles=2, delta=delta)
        outputs = tf.constant([[[9.0, 9.0], [0.0, 3.0]]])
        target = tf.constant([[2.0, 2.0]])
        got, td_error = values.loss(outputs, tf.constant([1]), target)
        np.testing.assert_allclose(got, [loss], rtol=1e-6)
        assert td_error.numpy().tolist() == [0.5]


class TestImplicitQuantileValues:
    VALUES = ImplicitQuantileValues(num_quantiles=3, num_policy_quantiles=2)
    STATES = np.zeros([4, 1], np.float32)

    def test_acts_on_midpoints(self):
        quantiles, fractions = self.VALUES.read(linear, self.STATES, False)
        np.testing.assert_allclose(fractions, [[0.25, 0.75]] * 4)
        np.testing.assert_allclose(quantiles, [[[0.25, 0.75], [2.5, 7.5]]] * 4)
        expected = self.VALUES.expected((quantiles, fractions))
        np.testing.assert_allclose(expected, [[0.5, 5.0]] * 4)

    def test_learns_at_fractions_drawn_for_each_row(self):
        seed = tf.constant([1, 2])
        quantiles, fractions = self.VALUES.read(linear, self.STATES, False, seed)
        assert fractions.shape == (4, 3)
        assert len(np.unique(fractions)) == 12
        np.testing.assert_array_equal(quantiles[:, 0], fractions)
        _, others = self.VALUES.read(linear, self.STATES, False, tf.constant([1, 3]))
        assert np.all(fractions != others)

    def test_loss_weighs_by_the_fractions_drawn(self):
        """Errors 2 and -1 at 0.1 and 0.8: 0.1 * 1.5 + 0.2 * 0.5."""
        outputs = tf.constant([[[9.0, 9.0], [0.0, 3.0]]]), tf.constant([[0.1, 0.8]])
        target = tf.constant([[2.0, 2.0, 2.0]])
        loss, td_error = self.VALUES.loss(outputs, tf.constant([1]), target)
        np.testing.assert_allclose(loss, [0.25], rtol=1e-6)
        assert td_error.numpy().tolist() == [0.5]
