"""`keras.losses.Loss` classes for `model.compile` and `fit`.

In `fit`, `sample_weight` of a policy's output is the advantage and the target is the
action; of action values, it is the importance-sampling weight. For training loops of
one's own the functions of this package are simpler.
"""

import math

import keras
from keras import ops

from kerasrl2._checks import check_choice, check_range, check_same_shape
from kerasrl2.losses.policy import categorical_entropy, categorical_log_prob
from kerasrl2.losses.temporal_difference import value_of_action
from kerasrl2.losses.values import huber

_REDUCTIONS = ("sum_over_batch_size", "sum", "none", None)


@keras.saving.register_keras_serializable(package="kerasrl2")
class PolicyGradientLoss(keras.losses.Loss):
    """`-log pi(a|s)` of discrete actions; `sample_weight` carries the advantage.

    Section 3 of Williams (1992), https://doi.org/10.1007/BF00992696. The mean over the
    batch: repeating a batch changes nothing. Advantages may be negative.

    Args:
        reduction: `"sum_over_batch_size"`, `"sum"`, `"none"` or None. Reductions that
            divide by the sum of the weights make no sense for advantages.
        **kwargs: Base loss arguments.

    Call arguments:
        y_true: `[B]` or `[B, 1]`, the actions. Keras casts them to float on the way.
            The loss of what is none of `0 .. A - 1` is NaN.
        y_pred: `[B, A]` float, logits. They receive the gradient.
        sample_weight: `[B]` or `[B, 1]` float, the advantages.

    Example:
    >>> loss = PolicyGradientLoss()
    >>> round(float(loss([0.0], [[0.0, 0.0]], sample_weight=[2.0])), 6)
    1.386294
    """

    def __init__(
        self, reduction="sum_over_batch_size", name="policy_gradient_loss", **kwargs
    ):
        check_choice("reduction", reduction, _REDUCTIONS)
        super().__init__(name=name, reduction=reduction, **kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        if sample_weight is not None:
            sample_weight = _column_to_vector("sample_weight", sample_weight, y_pred)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        if len(y_pred.shape) != 2:
            raise ValueError(
                "Expected `y_pred` to be logits `[B, A]`. "
                f"Received: y_pred.shape={tuple(y_pred.shape)}"
            )
        action = _column_to_vector("y_true", y_true, y_pred)
        return -categorical_log_prob(y_pred, _nearly_whole(action))


@keras.saving.register_keras_serializable(package="kerasrl2")
class ActorCriticLoss(PolicyGradientLoss):
    """Policy-gradient loss minus an entropy bonus that no advantage weights.

    Section 4 of Mnih et al. (2016), https://arxiv.org/abs/1602.01783:
    `-log pi(a|s) A - beta H(pi(.|s))`. `sample_weight` is `A` and multiplies the first
    term only; both are then reduced the same way.

    Args:
        entropy_coefficient: Finite float >= 0, the paper's `beta`, in units of return
            per nat.
        reduction: `"sum_over_batch_size"`, `"sum"`, `"none"` or None.
        **kwargs: Base loss arguments.

    Call arguments: those of `PolicyGradientLoss`.

    Example:
    >>> loss = ActorCriticLoss(entropy_coefficient=0.1)
    >>> logits = ops.log([[0.75, 0.25]])
    >>> round(float(loss([1.0], logits, sample_weight=[2.0])), 6)
    2.716355
    """

    def __init__(self, entropy_coefficient=0.01, name="actor_critic_loss", **kwargs):
        check_range(
            "entropy_coefficient", entropy_coefficient, 0.0, math.inf, open_high=True
        )
        super().__init__(name=name, **kwargs)
        self.entropy_coefficient = entropy_coefficient
        self._entropy = _NegativeEntropy(
            reduction=self.reduction, dtype=self.dtype, name="entropy"
        )

    def __call__(self, y_true, y_pred, sample_weight=None):
        policy_loss = super().__call__(y_true, y_pred, sample_weight)
        return policy_loss + self.entropy_coefficient * self._entropy(y_true, y_pred)

    def get_config(self):
        config = super().get_config()
        return {**config, "entropy_coefficient": self.entropy_coefficient}


@keras.saving.register_keras_serializable(package="kerasrl2")
class HuberCriticLoss(keras.losses.Loss):
    """Huber loss of state values; `[B]` targets and `[B, 1]` values never broadcast.

    Equation (1) of Huber (1964), https://doi.org/10.1214/aoms/1177703732.

    Args:
        delta: Float > 0, the error, in units of return, above which it is linear.
        **kwargs: Base loss arguments.

    Call arguments:
        y_true: `[B]` or `[B, 1]` float, returns.
        y_pred: `[B]` or `[B, 1]` float, values. They receive the gradient.
        sample_weight: `[B]` or `[B, 1]` float or None.

    Example:
    >>> float(HuberCriticLoss()([1.0, 3.0], [[1.0], [3.0]]))
    0.0
    """

    def __init__(self, delta=1.0, name="huber_critic_loss", **kwargs):
        check_range("delta", delta, 0.0, open_low=True)
        super().__init__(name=name, **kwargs)
        self.delta = delta

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        if sample_weight is not None:
            sample_weight = _column_to_vector("sample_weight", sample_weight, y_pred)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        value = _column_to_vector("y_pred", y_pred, y_pred)
        return huber(value - _column_to_vector("y_true", y_true, y_pred), self.delta)

    def get_config(self):
        return {**super().get_config(), "delta": self.delta}


@keras.saving.register_keras_serializable(package="kerasrl2")
class ImportanceWeightedTDLoss(keras.losses.Loss):
    """Loss of the values of the actions taken, weighted by how they were sampled.

    Algorithm 1, line 13, of Schaul et al. (2016), https://arxiv.org/abs/1511.05952:
    the mean over the batch of `w * loss(target - Q(s, a))`. It is divided by the size
    of the batch, not by the sum of the weights and not by the number of actions. The
    values of actions that were not taken get a gradient of exactly zero.

    Args:
        loss: `"huber"`, or `"squared"` for the square, not halved.
        delta: Float > 0, the error, in units of return, above which the Huber loss is
            linear.
        reduction: `"sum_over_batch_size"`, `"sum"`, `"none"` or None.
        **kwargs: Base loss arguments.

    Call arguments:
        y_true: `[B, 2]` float, action and target: `stack([action, target], axis=1)`.
            Keras casts to float32, which holds integers up to 2**24.
        y_pred: `[B, A]` float, `Q(s, .)`. Receives the gradient.
        sample_weight: `[B]` or `[B, 1]` float, importance-sampling weights, or None.

    Example:
    >>> loss = ImportanceWeightedTDLoss()
    >>> y_true = [[0, 1.0], [1, -2.0]]
    >>> float(loss(y_true, ops.zeros([2, 3]), sample_weight=[1.0, 0.5]))
    0.625
    """

    def __init__(
        self,
        loss="huber",
        delta=1.0,
        reduction="sum_over_batch_size",
        name="importance_weighted_td_loss",
        **kwargs,
    ):
        check_choice("loss", loss, ("huber", "squared"))
        check_range("delta", delta, 0.0, open_low=True)
        check_choice("reduction", reduction, _REDUCTIONS)
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.loss, self.delta = loss, delta

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if sample_weight is not None:
            sample_weight = _column_to_vector("sample_weight", sample_weight, y_pred)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if len(shapes[1]) != 2 or len(shapes[0]) != 2 or shapes[0][1] != 2:
            raise ValueError(
                "Expected `y_true` [B, 2], action and target, and `y_pred` [B, A]. "
                f"Received: y_true.shape={shapes[0]}, y_pred.shape={shapes[1]}"
            )
        check_same_shape(batch_of_y_true=y_true[:, 0], batch_of_y_pred=y_pred[:, 0])
        taken = value_of_action(y_pred, _nearly_whole(y_true[:, 0]))
        error = ops.stop_gradient(y_true[:, 1]) - taken
        return error**2 if self.loss == "squared" else huber(error, self.delta)

    def get_config(self):
        return {**super().get_config(), "loss": self.loss, "delta": self.delta}


class _NegativeEntropy(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return -categorical_entropy(y_pred)


def _nearly_whole(action):
    """Actions as floats, without what casts and scalings did to their last digits."""
    whole = ops.round(action)
    return ops.where(ops.abs(action - whole) < 0.01, whole, action)


def _column_to_vector(name, x, y_pred):
    """`[B]` or `[B, 1]` to `[B]`, checked against the batch size of `y_pred`."""
    x = ops.convert_to_tensor(x)
    shape, batch = tuple(x.shape), tuple(y_pred.shape)[:1]
    column = len(shape) == 2 and shape[1] == 1
    vector = len(shape) == 1 or column
    if not vector or (None not in (*shape, *batch) and shape[:1] != batch):
        raise ValueError(
            f"Expected `{name}` of shape (B,) or (B, 1), with batch size "
            f"{batch}. Received: {shape}"
        )
    return x[:, 0] if column else x
