"""Stacks of dense layers with what may be put between them."""

import math

from keras import layers

from kerasrl2.layers.batch_renormalization import BatchRenormalization
from kerasrl2.layers.dense import dense


def stack(
    x,
    hidden,
    activation,
    named,
    dropout=0.0,
    layer_normalization=False,
    batch_renormalization=False,
):
    """Dense layers, each followed by its activation.

    Args:
        x: Keras tensor `[B, F]`.
        hidden: Sequence of integers >= 1, units.
        activation: String or callable, Keras activation.
        named: Callable from a layer's name to one that is free in the network.
        dropout: Float in [0, 1), of each layer's outputs before the activation.
        layer_normalization: Boolean, of what is left of them.
        batch_renormalization: Boolean, of each layer's inputs, and of the outputs of
            the last one.

    Returns:
        Keras tensor `[B, hidden[-1]]`.
    """
    for i, units in enumerate(hidden):
        if batch_renormalization:
            x = BatchRenormalization(name=named(f"norm_{i}"))(x)
        x = dense(units, math.sqrt(2.0), name=named(f"dense_{i}"))(x)
        if dropout:
            x = layers.Dropout(dropout, name=named(f"dropout_{i}"))(x)
        if layer_normalization:
            x = layers.LayerNormalization(name=named(f"layer_norm_{i}"))(x)
        x = layers.Activation(activation, name=named(f"activation_{i}"))(x)
    if batch_renormalization:
        x = BatchRenormalization(name=named("norm"))(x)
    return x
