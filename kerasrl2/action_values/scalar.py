"""Action values as numbers."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_range
from kerasrl2.action_values.base import ActionValues
from kerasrl2.losses import huber, q_learning_target, value_loss, value_of_action


@keras.saving.register_keras_serializable(package="kerasrl2")
class ScalarValues(ActionValues):
    """`Q(s, a)` as one number, regressed on `r + discount * Q'(s', a')`.

    Mnih et al. (2015), https://doi.org/10.1038/nature14236. The network's output is
    `[B, A]`, in units of return.

    Args:
        loss: `"huber"` or `"squared"` (half the square).
        delta: Float > 0, the error above which the Huber loss is linear.

    Example:
    >>> values, zero = ScalarValues(), tf.zeros([1, 2])
    >>> greedy, one = tf.constant([[0.0, 1.0]]), tf.ones([1])
    >>> target = values.target(tf.constant([[2.0, 5.0]]), greedy, one, 0.9 * one)
    >>> loss, td_error = values.loss(zero, tf.constant([0]), target)
    >>> float(td_error[0]), float(loss[0])
    (5.5, 5.0)
    """

    def __init__(self, loss="huber", delta=1.0):
        check_choice("loss", loss, ("huber", "squared"))
        check_range("delta", delta, 0.0, open_low=True)
        self.loss_name, self.delta = loss, delta

    def expected(self, outputs):
        return outputs

    def target(self, next_outputs, policy, reward, discount):
        return q_learning_target(reward, discount, next_outputs, policy)

    def loss(self, outputs, action, target):
        taken = value_of_action(outputs, action)
        td_error = tf.stop_gradient(target) - taken
        if self.loss_name == "huber":
            return huber(td_error, self.delta), td_error
        return value_loss(taken, target), td_error

    def get_config(self):
        return {"loss": self.loss_name, "delta": self.delta}
