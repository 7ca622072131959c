"""Layers of action-value networks."""

import math

import keras
from keras import ops

from kerasrl2._checks import check_positive_integer, plain_numbers
from kerasrl2.layers.activations import activation_of
from kerasrl2.layers.dense import dense
from kerasrl2.layers.noisy import NoisyDense


@keras.saving.register_keras_serializable(package="kerasrl2")
class DuelingHead(keras.layers.Layer):
    """Action values from a stream for the state's value and one for advantages.

    Equation (9) of Wang et al. (2016), https://arxiv.org/abs/1511.06581:
    `Q(s, a) = V(s) + A(s, a) - mean_b A(s, b)`. The mean is over the actions of a row,
    so that rows do not depend on their batch mates. Both streams receive gradients.

    Args:
        num_actions: Integer >= 1, the number of actions `A`.
        num_atoms: Integer >= 1 or None. `M` outputs per action, such as the logits of
            a distribution or quantiles; each is combined on its own, as in section 3
            of Hessel et al. (2018), https://arxiv.org/abs/1710.02298.
        units: Integer >= 1 or None, the size of a hidden layer in each stream.
        activation: String or callable, of the hidden layers.
        noisy: Boolean, whether all layers are `NoisyDense`.
        sigma: Float >= 0, their `sigma`.
        **kwargs: Base layer arguments. `dtype="float32"` under mixed precision.

    Input shape: `[..., F]`, features.

    Output shape: `[..., A]`, or `[..., A, M]` with `num_atoms`.

    Example:
    >>> head = DuelingHead(num_actions=3, num_atoms=51, units=16)
    >>> head(ops.zeros([2, 8])).shape
    TensorShape([2, 3, 51])
    """

    def __init__(
        self,
        num_actions,
        num_atoms=None,
        units=None,
        activation="relu",
        noisy=False,
        sigma=0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive_integer("num_actions", num_actions)
        for name, value in (("num_atoms", num_atoms), ("units", units)):
            if value is not None:
                check_positive_integer(name, value)
        self.num_actions, self.num_atoms = num_actions, num_atoms
        self.units, self.activation = units, activation_of(activation)
        self.noisy, self.sigma = noisy, sigma
        arguments = {"noisy": noisy, "sigma": sigma, "dtype": self.dtype_policy}
        for stream, size in (("value", 1), ("advantage", num_actions)):
            layers = [value_layer(size * (num_atoms or 1), name=stream, **arguments)]
            if units is not None:
                hidden = f"{stream}_hidden"
                layers.insert(0, value_layer(units, activation, hidden, **arguments))
            setattr(self, f"{stream}_layers", layers)

    def build(self, input_shape):
        for layers in (self.value_layers, self.advantage_layers):
            shape = input_shape
            for layer in layers:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)

    def call(self, features, training=False):
        del training  # Keras hands it on to the layers
        value = self._run(self.value_layers, features, 1)
        advantage = self._run(self.advantage_layers, features, self.num_actions)
        q = value + advantage - ops.mean(advantage, axis=-2, keepdims=True)
        return q if self.num_atoms else ops.squeeze(q, axis=-1)

    def compute_output_shape(self, input_shape):
        atoms = (self.num_atoms,) if self.num_atoms else ()
        return (*input_shape[:-1], self.num_actions, *atoms)

    def get_config(self):
        return {
            **super().get_config(),
            "num_actions": self.num_actions,
            "num_atoms": self.num_atoms,
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "noisy": self.noisy,
            "sigma": self.sigma,
        }

    def _run(self, layers, x, rows):
        """`[..., F]` to `[..., rows, M]`."""
        for layer in layers:
            x = layer(x)
        shape = (*ops.shape(x)[:-1], rows, self.num_atoms or 1)
        return ops.reshape(x, shape)


@keras.saving.register_keras_serializable(package="kerasrl2")
class FractionEmbedding(keras.layers.Layer):
    """Features times an embedding of the fractions whose quantiles are wanted.

    Equation (4) of Dabney et al. (2018), https://arxiv.org/abs/1806.06923:
    `psi(x) * relu(sum_i cos(pi i tau) w_i + b)` with `i` from 0 to `num_cosines - 1`,
    as implicit quantile networks have it. Features and weights receive gradients.

    Args:
        num_cosines: Integer >= 1, the paper's `n`.
        **kwargs: Base layer arguments.

    Input shape: `(features, fractions)`: `[B, F]`, and `[B, K]` in (0, 1).

    Output shape: `[B, K, F]`.

    Example:
    >>> embedding = FractionEmbedding()
    >>> embedding((ops.ones([2, 16]), ops.ones([2, 8]) / 2)).shape
    TensorShape([2, 8, 16])
    """

    def __init__(self, num_cosines=64, **kwargs):
        super().__init__(autocast=False, **kwargs)  # cos(63 pi tau) needs float32
        check_positive_integer("num_cosines", num_cosines)
        self.num_cosines = num_cosines

    def build(self, input_shape):
        features, fractions = input_shape
        if len(features) != 2 or len(fractions) != 2:
            raise ValueError(
                "Expected features [B, F] and fractions [B, K]. "
                f"Received: shapes {tuple(features)} and {tuple(fractions)}"
            )
        self.dense = keras.layers.Dense(
            features[-1], activation="relu", dtype=self.dtype_policy, name="embedding"
        )
        self.dense.build((*fractions, self.num_cosines))

    def call(self, inputs):
        features, fractions = inputs
        multiples = math.pi * ops.arange(self.num_cosines, dtype="float32")
        angles = ops.cast(fractions, "float32")[:, :, None] * multiples  # [B, K, n]
        embedding = self.dense(ops.cast(ops.cos(angles), self.compute_dtype))
        return ops.cast(features, self.compute_dtype)[:, None, :] * embedding

    def compute_output_shape(self, input_shape):
        features, fractions = input_shape
        return (*fractions, features[-1])

    def get_config(self):
        return {**super().get_config(), "num_cosines": self.num_cosines}


@plain_numbers
def value_layer(units, activation=None, name=None, noisy=False, sigma=0.5, **kwargs):
    """A dense layer of a value network: orthogonal kernel, or noisy.

    Args:
        units: Integer >= 1.
        activation: String, callable or None; None marks an output layer (gain 1).
        name: String or None.
        noisy: Boolean.
        sigma: Float >= 0, with `noisy`.
        **kwargs: Base layer arguments.

    Returns:
        `NoisyDense`, `FewUnitsDense` or `keras.layers.Dense`.
    """
    if noisy:
        return NoisyDense(units, activation, sigma, name=name, **kwargs)
    linear = activation_of(activation) is keras.activations.linear
    gain = 1.0 if linear else math.sqrt(2.0)
    return dense(units, gain, activation, name=name, **kwargs)
