"""Output layers that complete the parameters of a distribution."""

import keras
from keras import ops

from kerasrl2._checks import check_range


@keras.saving.register_keras_serializable(package="kerasrl2")
class StateIndependentLogStd(keras.layers.Layer):
    """Appends trainable log standard deviations, the same in every state, to means.

    The parametrisation of Schulman et al. (2015), appendix D,
    https://arxiv.org/abs/1502.05477. The result are the parameters of
    `kerasrl2.distributions.DiagonalGaussian`.

    Args:
        initial_log_std: Float, the natural logarithm of the first standard deviation,
            in units of half the action's range.
        **kwargs: Base layer arguments. `dtype="float32"` under mixed precision.

    Input shape: `[..., D]`, means.

    Output shape: `[..., 2 D]`, means, then log standard deviations.

    Example:
    >>> layer = StateIndependentLogStd(initial_log_std=-0.5)
    >>> layer(ops.zeros([1, 2])).numpy().tolist()
    [[0.0, 0.0, -0.5, -0.5]]
    """

    def __init__(self, initial_log_std=0.0, **kwargs):
        super().__init__(**kwargs)
        check_range("initial_log_std", initial_log_std, -20.0, 5.0)
        self.initial_log_std = initial_log_std

    def build(self, input_shape):
        self.log_std = self.add_weight(
            name="log_std",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_log_std),
        )

    def call(self, mean):
        log_std = ops.broadcast_to(ops.cast(self.log_std, mean.dtype), ops.shape(mean))
        return ops.concatenate([mean, log_std], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "initial_log_std": self.initial_log_std}


@keras.saving.register_keras_serializable(package="kerasrl2")
class StateDependentNoise(keras.layers.Layer):
    """Appends features times trainable standard deviations to means.

    The result are the parameters of `distributions.StateDependentGaussian`. Features
    get no gradient: exploration does not shape them (Raffin et al., 2021,
    https://arxiv.org/abs/2005.05719, section 3). They are divided by the square root
    of their number, so that features of size 1 make the noise that `initial_log_std`
    says.

    Args:
        initial_log_std: Float, the natural logarithm of the first standard deviations,
            in units of half the action's range.
        **kwargs: Base layer arguments. `dtype="float32"` under mixed precision.

    Input shape: `(means, features)`: `[..., D]` and `[..., F]`.

    Output shape: `[..., D (1 + F)]`.

    Example:
    >>> layer = StateDependentNoise(initial_log_std=0.0)
    >>> layer((ops.zeros([1, 1]), ops.ones([1, 4]))).numpy().tolist()
    [[0.0, 0.5, 0.5, 0.5, 0.5]]
    """

    def __init__(self, initial_log_std=0.0, **kwargs):
        super().__init__(**kwargs)
        check_range("initial_log_std", initial_log_std, -20.0, 5.0)
        self.initial_log_std = initial_log_std

    def build(self, input_shape):
        mean, features = input_shape
        self.log_std = self.add_weight(
            name="log_std",
            shape=(features[-1], mean[-1]),
            initializer=keras.initializers.Constant(self.initial_log_std),
        )

    def call(self, inputs):
        mean, features = inputs
        features = ops.stop_gradient(ops.cast(features, mean.dtype))
        sigma = ops.exp(ops.cast(self.log_std, mean.dtype)) / features.shape[-1] ** 0.5
        factors = features[..., None] * sigma
        size = factors.shape[-2] * factors.shape[-1]  # -1 would leave it unknown
        flat = ops.reshape(factors, (*ops.shape(features)[:-1], size))
        return ops.concatenate([mean, flat], axis=-1)

    def compute_output_shape(self, input_shape):
        mean, features = input_shape
        return (*mean[:-1], mean[-1] * (1 + features[-1]))

    def get_config(self):
        return {**super().get_config(), "initial_log_std": self.initial_log_std}
