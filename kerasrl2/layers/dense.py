"""Dense layers, and the one that XLA computes faster where units are few."""

import keras
from keras import ops

from kerasrl2._private import in_xla_context

_FEW = range(2, 5)


@keras.saving.register_keras_serializable(package="kerasrl2")
class FewUnitsDense(keras.layers.Dense):
    """A `keras.layers.Dense` of a few units, each computed by itself under XLA.

    The numbers are those of `keras.layers.Dense` but for rounding, as are gradients,
    weights and arguments. On a CPU XLA's products of `[B, 2]` with `[2, F]` and of
    `[F, B]` with `[B, 2]`, the gradients of two units, take several times as long as
    two products of one column. With two to four units and a batch of 64 or more
    the layer and its gradients take a third to four fifths of the time; with more than
    four, as in plain graphs, it is the product of Keras. The networks of this package
    have it where they have so few outputs; a network of one's own may.

    Args:
        units: Integer >= 1.
        **kwargs: Those of `keras.layers.Dense`.

    Input shape: `[..., F]`.

    Output shape: `[..., units]`.

    Example:
    >>> layer = FewUnitsDense(2, kernel_initializer="ones")
    >>> layer(ops.ones([1, 3])).numpy().tolist()
    [[3.0, 3.0]]
    """

    def call(self, inputs, training=None):
        if self.units not in _FEW or not in_xla_context():
            return super().call(inputs, training=training)
        columns = ops.split(self.kernel, self.units, axis=-1)
        parts = [ops.matmul(inputs, column) for column in columns]
        x = ops.concatenate(parts, axis=-1)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)


def dense(units, gain, activation=None, **kwargs):
    """A dense layer with an orthogonal kernel.

    Args:
        units: Integer >= 1.
        gain: Float, of the kernel.
        activation: String, callable or None.
        **kwargs: Those of `keras.layers.Dense`.

    Returns:
        `FewUnitsDense` for two to four linear units, else `keras.layers.Dense`.
    """
    few = activation is None and units in _FEW
    kind = FewUnitsDense if few else keras.layers.Dense
    kernel = keras.initializers.Orthogonal(gain)
    return kind(units, activation, kernel_initializer=kernel, **kwargs)
