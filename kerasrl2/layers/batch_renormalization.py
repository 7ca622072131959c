"""Batch renormalisation."""

import keras
from keras import ops

from kerasrl2._checks import check_positive_integer, check_range


@keras.saving.register_keras_serializable(package="kerasrl2")
class BatchRenormalization(keras.layers.Layer):
    """Batch normalisation whose outputs in training are near those of inference.

    Algorithm 1 of Ioffe (2017), https://arxiv.org/abs/1702.03275:
    `y = gamma ((x - mu_B) / sigma_B * r + d) + beta` with
    `r = clip(sigma_B / sigma, 1 / r_max, r_max)` and
    `d = clip((mu_B - mu) / sigma, -d_max, d_max)`, `mu` and `sigma` being the moving
    statistics of the calls before. Without a limit that binds, training and inference
    agree. During `warmup_steps` calls `r` is 1 and `d` 0, as in plain batch
    normalisation: moving statistics mean nothing at first.

    With `training=True` moving statistics are updated; no gradient passes `r` and `d`.
    A layer whose `trainable` is False acts as in inference, as Keras' batch
    normalisation does.

    Args:
        momentum: Float in [0, 1], share of the moving statistics that stays.
        epsilon: Float > 0, added to variances.
        r_max: Float >= 1.
        d_max: Float >= 0.
        warmup_steps: Integer >= 0, calls in training without renormalisation.
        **kwargs: Base layer arguments.

    Input shape: `[B, ..., F]`; statistics are over all axes but the last.

    Output shape: as the input.

    Example:
    >>> layer, x = BatchRenormalization(0.5, warmup_steps=0), ops.array([[1.0], [3.0]])
    >>> [round(float(y), 2) for y in layer(x, training=True)[:, 0]]
    [1.0, 3.0]
    >>> float(layer.moving_mean[0]), float(layer.moving_variance[0])
    (1.0, 1.0)
    """

    def __init__(
        self,
        momentum=0.99,
        epsilon=1e-3,
        r_max=3.0,
        d_max=5.0,
        warmup_steps=100_000,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_range("momentum", momentum, 0.0, 1.0)
        check_range("epsilon", epsilon, 0.0, open_low=True)
        check_range("r_max", r_max, 1.0)
        check_range("d_max", d_max, 0.0)
        if warmup_steps != 0:
            check_positive_integer("warmup_steps", warmup_steps)
        self.momentum, self.epsilon = momentum, epsilon
        self.r_max, self.d_max, self.warmup_steps = r_max, d_max, warmup_steps

    def build(self, input_shape):
        def weight(name, value, trainable):
            return self.add_weight(
                name=name, shape=(input_shape[-1],), initializer=value,
                trainable=trainable, dtype="float32",
            )  # fmt: skip

        self.gamma, self.beta = (
            weight("gamma", "ones", True),
            weight("beta", "zeros", True),
        )
        self.moving_mean = weight("moving_mean", "zeros", False)
        self.moving_variance = weight("moving_variance", "ones", False)
        self.steps = self.add_weight(
            name="steps", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self.built = True

    def call(self, inputs, training=False):
        x = ops.cast(inputs, "float32")
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            x = self._renormalized(x)
        else:
            x = (x - mean) * ops.rsqrt(variance + self.epsilon)
        return ops.cast(self.gamma * x + self.beta, self.compute_dtype)

    def _renormalized(self, x):
        """`[..., F]` before scale and offset; updates the moving statistics."""
        batch_mean, batch_variance = ops.moments(x, list(range(len(x.shape) - 1)))
        mean = ops.convert_to_tensor(self.moving_mean)
        variance = ops.convert_to_tensor(self.moving_variance)
        deviation = ops.sqrt(variance + self.epsilon)
        batch_deviation = ops.sqrt(batch_variance + self.epsilon)
        r = ops.clip(batch_deviation / deviation, 1.0 / self.r_max, self.r_max)
        d = ops.clip((batch_mean - mean) / deviation, -self.d_max, self.d_max)
        warm = ops.convert_to_tensor(self.steps) >= self.warmup_steps
        r = ops.stop_gradient(ops.where(warm, r, 1.0))
        d = ops.stop_gradient(ops.where(warm, d, 0.0))
        share = 1.0 - self.momentum
        self.moving_mean.assign(mean + share * (ops.stop_gradient(batch_mean) - mean))
        self.moving_variance.assign(
            variance + share * (ops.stop_gradient(batch_variance) - variance)
        )
        self.steps.assign(ops.minimum(self.steps + 1, 2**30))
        return (x - batch_mean) / batch_deviation * r + d

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        names = "momentum", "epsilon", "r_max", "d_max", "warmup_steps"
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own}
