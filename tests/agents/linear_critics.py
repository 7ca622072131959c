"""Agents whose networks are linear, so that losses can be worked out by hand."""

import keras
import numpy as np
import tensorflow as tf

from kerasrl2.types import Transition

S, NEXT = tf.constant([[1.0, 2], [3, 4]]), tf.constant([[5.0, 6], [7, 8]])


def linear(kernels, inputs=(2, 1), bias=0.0):
    """A model of one or more inputs, linear in all of them.

    Args:
        kernels: `[F, outputs]`, rows in the order of the inputs.
        inputs: Sequence of integers, sizes of the inputs.
        bias: Float, of all outputs.
    """
    tensors = [keras.Input([size]) for size in inputs]
    joined = keras.layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]
    layer = keras.layers.Dense(np.shape(kernels)[1])
    outputs = layer(joined)
    layer.set_weights([np.float32(kernels), np.full(np.shape(kernels)[1], bias, "f4")])
    return keras.Model(tensors if len(tensors) > 1 else tensors[0], outputs)


def transitions(action, reward=(10.0, 20.0), discount=0.9, weight=(1.0, 1.0)):
    """Two transitions from `S` to `NEXT`."""
    rows = np.float32(action), np.float32(reward)
    rows += np.full(len(reward), discount, "f4"), NEXT, np.float32(weight)
    return Transition(S, *map(tf.convert_to_tensor, rows))
