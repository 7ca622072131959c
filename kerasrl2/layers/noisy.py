"""Dense layers with learned noise on their weights."""

import keras
import tensorflow as tf
from keras import ops

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2._private import layers_of
from kerasrl2._seeds import drawn_seed, seeds_from
from kerasrl2.distributions import sampling
from kerasrl2.layers.activations import activation_of


@keras.saving.register_keras_serializable(package="kerasrl2")
class NoisyDense(keras.layers.Layer):
    """A dense layer whose weights carry Gaussian noise of learned size.

    Section 3 of Fortunato et al. (2018), https://arxiv.org/abs/1706.10295:
    `y = (mu_w + sigma_w * eps_w) x + mu_b + sigma_b * eps_b`, with the factorised noise
    of equations (10) and (11), `eps_w[i, j] = f(eps_i) f(eps_j)`, `eps_b[j] = f(eps_j)`
    and `f(x) = sign(x) sqrt(|x|)`. Means start from `U(-1/sqrt(p), 1/sqrt(p))` and all
    sigmas from `sigma / sqrt(p)`, where `p` is the number of inputs.

    With `training=True` every call draws new noise, one draw for the whole batch; with
    `training=False` the noise is 0. Means and sigmas receive gradients.

    The noise is a function of the weight `noise_state`, int32 `[seed, counter]`, which
    a noisy call moves on. So eager, graph and XLA mode draw the same numbers (up to
    rounding), and a model that was saved goes on with the noise that was next.

    Args:
        units: Integer >= 1, outputs `U`.
        activation: String, callable or None, Keras activation.
        sigma: Float >= 0, the paper's `sigma_0`.
        use_bias: Boolean.
        seed: Integer in [0, 2**31) or None, of the noise. None draws one, from the
            generator that `keras.utils.set_random_seed` sets. Layers of one network
            need different seeds.
        **kwargs: Base layer arguments.

    Input shape: `[..., F]`.

    Output shape: `[..., U]`.

    Attributes:
        kernel: `[F, U]`, `mu_w`.
        kernel_sigma: `[F, U]`, `sigma_w`.
        bias: `[U]` or None, `mu_b`.
        bias_sigma: `[U]` or None, `sigma_b`.
        noise_state: `[2]` int32, not trained.

    Example:
    >>> layer, x = NoisyDense(3, seed=0), ops.ones([1, 4])
    >>> mean, first, second = layer(x), layer(x, training=True), layer(x, training=True)
    >>> bool(ops.all(mean == layer(x))), bool(ops.any(first == second))
    (True, False)
    >>> layer.noise_state.numpy().tolist()
    [0, 2]
    """

    def __init__(
        self, units, activation=None, sigma=0.5, use_bias=True, seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        check_range("sigma", sigma, 0.0)
        check_range("seed", seed, 0, 2**31, open_high=True)
        self.units, self.sigma = units, sigma
        self.activation = activation_of(activation)
        self.use_bias, self.seed = use_bias, seed
        self.bias = self.bias_sigma = None

    def build(self, input_shape):
        size = input_shape[-1]
        limit = size**-0.5
        spread = keras.initializers.Constant(self.sigma * limit)
        self.kernel_initializer = keras.initializers.RandomUniform(-limit, limit)
        self.bias_initializer = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self._weight("kernel", (size, self.units))
        self.kernel_sigma = self._weight("kernel_sigma", (size, self.units), spread)
        if self.use_bias:
            self.bias = self._weight("bias", (self.units,))
            self.bias_sigma = self._weight("bias_sigma", (self.units,), spread)
        seed = drawn_seed() if self.seed is None else self.seed
        self.noise_state = self.add_weight(
            name="noise_state",
            shape=(2,),
            dtype="int32",
            initializer=lambda shape, dtype: ops.convert_to_tensor([seed, 0], dtype),
            trainable=False,
        )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: size})

    def call(self, inputs, training=False):
        kernel, bias = self.kernel, self.bias
        if training:
            row, column = self._next_noise()
            kernel = kernel + self.kernel_sigma * row[:, None] * column
            if self.use_bias:
                bias = bias + self.bias_sigma * column
        outputs = ops.matmul(inputs, ops.cast(kernel, self.compute_dtype))
        if self.use_bias:
            outputs = outputs + ops.cast(bias, self.compute_dtype)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "sigma": self.sigma,
            "use_bias": self.use_bias,
            "seed": self.seed,
        }

    def _weight(self, name, shape, initializer=None):
        """A weight that mixed precision does not round: sigmas are small."""
        initializer = initializer or getattr(self, f"{name}_initializer")
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, autocast=False
        )

    def _next_noise(self):
        """Equation (10)'s factors, `[F]` and `[U]`; advances `noise_state`."""
        state = tf.convert_to_tensor(self.noise_state.value)  # the old value
        self.noise_state.assign(state + tf.constant([0, 1]))
        inputs = self.kernel.shape[0]
        draw = sampling.normal([inputs + self.units], state, tf.float32)
        noise = ops.cast(ops.sign(draw) * ops.sqrt(ops.abs(draw)), self.variable_dtype)
        return noise[:inputs], noise[inputs:]


def seed_noise(network, seed):
    """Seeds the noise that the `NoisyDense` layers of a network draw from now on.

    For use eagerly, in graphs and under XLA; equal seeds give equal noise, a different
    one in each layer.

    Args:
        network: Keras model; one without such layers is left alone.
        seed: `[2]` int, stateless seed.

    Example:
    >>> layer, x = NoisyDense(2, seed=0), tf.ones([1, 3])
    >>> network = keras.Sequential([keras.Input((3,)), layer])
    >>> outputs = []
    >>> for _ in range(2):
    ...     seed_noise(network, [0, 7])
    ...     outputs.append(network(x, training=True).numpy().tolist())
    >>> outputs[0] == outputs[1]
    True
    """
    layers = [x for x in layers_of(network) if isinstance(x, NoisyDense)]
    if layers:
        states = seeds_from(seed, len(layers))
        for layer, state in zip(layers, tf.unstack(states), strict=True):
            layer.noise_state.assign(state)
