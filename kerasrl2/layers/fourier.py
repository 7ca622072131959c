"""Random Fourier features: radial basis functions for linear models."""

import math

import keras
import numpy as np
from keras import ops

from kerasrl2._checks import check_positive_integer, check_range


@keras.saving.register_keras_serializable(package="kerasrl2")
class RandomFourierFeatures(keras.layers.Layer):
    """Features whose inner products are Gaussian kernels, of several widths.

    Equation (2) and algorithm 1 of Rahimi and Recht (2007),
    https://papers.nips.cc/paper/3182-random-features-for-large-scale-kernel-machines:
    `z(x) = sqrt(2 / D) cos(W x + b)` with `W ~ N(0, 2 gamma)` and `b ~ U(0, 2 pi)`, so
    that `z(x) . z(y)` is about `exp(-gamma |x - y|^2)`, to some `1 / sqrt(D)`. The
    features of all widths are concatenated: a linear critic on them is a sum of smooth
    bumps. Nothing in the layer is trained; gradients flow to the input. The input must
    be standardised, for instance by `for_env(normalize_observations=True)`.

    Args:
        num_features: Integer >= 1, `D`, features of each width.
        gammas: Sequence of floats > 0, the widths: a bump has deviation
            `sqrt(1 / (2 gamma))`.
        seed: Integer or None, of the weights.
        **kwargs: Base layer arguments.

    Input shape: `[..., F]`.

    Output shape: `[..., len(gammas) * num_features]`.

    Example:
    >>> layer = RandomFourierFeatures(num_features=10_000, gammas=(1.0,), seed=0)
    >>> z = layer(ops.array([[0.0], [1.0]]))
    >>> abs(float(ops.sum(z[0] * z[1])) - math.exp(-1)) < 0.03
    True
    """

    def __init__(
        self, num_features=100, gammas=(5.0, 2.0, 1.0, 0.5), seed=None, **kwargs
    ):
        super().__init__(autocast=False, **kwargs)  # angles need float32
        check_positive_integer("num_features", num_features)
        if not isinstance(gammas, list | tuple) or not gammas:
            raise ValueError(
                "Expected `gammas` as a sequence of numbers > 0. Received: "
                f"{gammas!r:.100}"
            )
        for gamma in gammas:
            check_range("gammas", gamma, 0.0, math.inf, open_low=True, open_high=True)
        self.num_features, self.gammas = int(num_features), tuple(map(float, gammas))
        self.seed = seed
        # Two seeds of one, or directions and phases would belong together.
        words = (None, None)
        if seed is not None:
            words = (np.random.SeedSequence(seed).generate_state(2) >> 1).tolist()
        initializers = keras.initializers
        self.kernel_initializer = initializers.RandomNormal(0.0, 1.0, words[0])
        self.bias_initializer = initializers.RandomUniform(0.0, 2.0 * math.pi, words[1])

    def build(self, input_shape):
        columns = len(self.gammas) * self.num_features
        arguments = {"trainable": False, "dtype": "float32", "autocast": False}
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], columns),
            initializer=self.kernel_initializer,
            **arguments,
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(columns,),
            initializer=self.bias_initializer,
            **arguments,
        )

    def call(self, x):
        widths = np.repeat(np.sqrt(2.0 * np.array(self.gammas)), self.num_features)
        scaled = ops.convert_to_tensor(self.kernel) * widths.astype("float32")
        angles = ops.matmul(ops.cast(x, "float32"), scaled) + self.bias
        features = math.sqrt(2.0 / self.num_features) * ops.cos(angles)
        return ops.cast(features, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], len(self.gammas) * self.num_features)

    def get_config(self):
        own = {"num_features": self.num_features, "gammas": list(self.gammas)}
        return {**super().get_config(), **own, "seed": self.seed}
