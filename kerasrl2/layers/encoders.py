"""Encoders: from observations of any space to features."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from kerasrl2._checks import check_choice, check_positive_integer, plain_numbers
from kerasrl2.layers.activations import activation_of
from kerasrl2.layers.convolutions import (
    grid_cnn,
    impala_cnn,
    nature_cnn,
    small_cnn,
)
from kerasrl2.layers.dense import dense
from kerasrl2.layers.pictures import (
    ENCODERS,
    as_picture,
    encoder_of,
    layout_of,
    pixel_max,
    scaled,
)
from kerasrl2.layers.specs import NestedSpec, ObservationSpec, entries_of


@plain_numbers
def mlp(input_shape, hidden=(64, 64), activation="tanh", name="mlp"):
    """A stack of dense layers over the flattened input.

    Kernels are orthogonal, with gain sqrt(2) (1 for linear layers), biases zero.

    Args:
        input_shape: Tuple, one observation; of any rank.
        hidden: Sequence of integers >= 1, units of each layer; may be empty.
        activation: String or callable, Keras activation.
        name: String.

    Returns:
        `keras.Model`, `[B, *input_shape]` to `[B, F]`.

    Example:
    >>> mlp((2, 3), hidden=(32, 16)).output_shape
    (None, 16)
    """
    inputs = keras.Input(tuple(input_shape))
    x = inputs if len(input_shape) == 1 else layers.Flatten()(inputs)
    for units in check_hidden(hidden):
        x = dense(units, _hidden_gain(activation), activation=activation)(x)
    return keras.Model(inputs, x, name=name)


_CONVOLUTIONAL = {
    "impala_cnn": impala_cnn,
    "nature_cnn": nature_cnn,
    "small_cnn": small_cnn,
    "grid_cnn": grid_cnn,
}


def features(x, observation, hidden, activation, encoder, name):
    """The layers from an observation to the features that output layers read.

    Args:
        x: Keras tensor `[B, *shape]`, observations; or a nest of them.
        observation: `ObservationSpec` or `NestedSpec`, or the shape of one observation
            as a tuple. Those of a spec are brought to channels last, and scaled by its
            bounds. Of a nest each entry has a branch of its own; their flattened
            features are concatenated in front of the dense layers.
        hidden: Sequence of integers >= 1, units of the dense layers, which follow the
            flattened features of a convolutional network.
        activation: String or callable, of the dense layers.
        encoder: `"mlp"`, `"impala_cnn"`, `"nature_cnn"`, `"small_cnn"`, `"grid_cnn"` or
            `"auto"`: for a spec see `encoder_for`; for a tuple of three sizes, with the
            first two at least 36, `"nature_cnn"`; from 5 to 35, `"grid_cnn"`; of all
            else `"mlp"`. Of a nest it is that of pictures.
        name: String, of the dense part; convolutional ones get `"_cnn"` after it, and
            the entry's name.

    Returns:
        Keras tensor `[B, F]`.

    Example:
    >>> observation = keras.Input((10, 10, 4))
    >>> features(observation, (10, 10, 4), (64,), "relu", "auto", name="q").shape
    (None, 64)
    """
    check_choice("encoder", encoder, ENCODERS)
    if isinstance(observation, NestedSpec):
        name = unused_name(name, x)
        x = _joined(x, observation, encoder, name)
    else:
        x = _encoded(x, observation, encoder, f"{name}_cnn")
    return mlp(x.shape[1:], hidden, activation, name=name)(x)


def _joined(x, spec, encoder, name):
    """`[B, F]`, the features of all entries of a nest."""
    parts = []
    tensors = tf.nest.flatten(x)
    for (path, entry), tensor in zip(entries_of(spec), tensors, strict=True):
        picture = layout_of(entry.shape, entry.dtype) is not None
        chosen = encoder if picture or encoder == "mlp" else "auto"
        part = _encoded(tensor, entry, chosen, f"{name}_cnn_{entry_name(path)}")
        if len(part.shape) == 1:
            part = layers.Reshape((1,))(part)
        elif len(part.shape) > 2:
            part = layers.Flatten()(part)
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    return layers.Concatenate(dtype="float32", name=f"{name}_entries")(parts)


def _encoded(x, observation, encoder, name):
    """What the dense layers read of one tensor of observations; of any rank."""
    arguments = {}
    if isinstance(observation, ObservationSpec):
        spec = observation
        encoder = encoder_of(spec) if encoder == "auto" else encoder
        if spec.num_classes is not None:
            x, encoder = _one_hot(x, spec), "mlp"
        elif encoder == "mlp":
            x = scaled(x, spec)
        else:
            largest = pixel_max(spec)
            x = as_picture(x if largest else scaled(x, spec), spec)
            arguments["pixel_max"] = largest or 1.0
    elif encoder == "auto":
        encoder = _encoder_for(observation)
    if encoder == "mlp":
        return x
    return _CONVOLUTIONAL[encoder](x.shape[1:], units=None, name=name, **arguments)(x)


@plain_numbers
def encoder_for(
    space, hidden=(64, 64), activation="tanh", encoder="auto", name="encoder"
):
    """A model from observations of a space to features.

    What the space says is used: `Discrete` observations are one-hot encoded from
    `start` on. Integers, and floats of three axes and more, are scaled from their
    bounds to 0 to 1, unless these lie within -1 and 1. Pictures are brought to channels
    last (`(C, H, W)` by its sizes; frames in front become channels) and encoded by
    their sides: from 36 on `"nature_cnn"`, from 16 on `"small_cnn"`, from 5 on and
    boards of 0 and 1 up to 35 `"grid_cnn"`; all else is flattened. `MultiDiscrete`
    observations are one-hot encoded entry by entry, `MultiBinary` ones taken as they
    are. Each entry of a `Dict` or `Tuple` has a branch of its own; their features are
    concatenated. Left out are entries of `Text`, and an `action_mask`.

    Args:
        space: `gymnasium.spaces.Box`, `Discrete`, `MultiBinary`, `MultiDiscrete`,
            `Dict` or `Tuple`, or an `ObservationSpec` or `NestedSpec`.
        hidden: Sequence of integers >= 1, units of the dense layers at the end.
        activation: String or callable, of the dense layers.
        encoder: `"mlp"`, `"impala_cnn"`, `"nature_cnn"`, `"small_cnn"`, `"grid_cnn"`,
            or `"auto"`, by the space.
        name: String.

    Returns:
        `keras.Model`, `[B, *space.shape]`, or a nest of such, to `[B, F]`.

    Raises:
        ValueError: The space is of another kind, or too small for the encoder.

    Example:
    >>> from gymnasium import spaces
    >>> model = encoder_for(spaces.Discrete(4, start=3), hidden=())
    >>> model(np.array([3, 6])).numpy().tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    spec = observations(space)
    inputs = observation_input(spec)
    x = features(inputs, spec, hidden, activation, encoder, name)
    return keras.Model(inputs, x, name=name)


def observations(described, num_classes=None):
    """What builders are told of observations, as `features` takes it.

    Args:
        described: `ObservationSpec` or `NestedSpec`, `gymnasium.Space`, or the shape as
            a sequence.
        num_classes: Integer or None, with the shape `()` only.

    Returns:
        The spec of what networks are given, or a tuple where nothing but the shape is
        known.
    """
    if isinstance(described, list | tuple):
        shape = tuple(described)
        if (num_classes is None) == (shape == ()):
            raise ValueError(
                "Expected `num_classes` with observation_shape=(), and only then. "
                f"Received: observation_shape={shape}, num_classes={num_classes}"
            )
        if num_classes is None:
            return shape
        return ObservationSpec((), "float32", int(num_classes))
    if num_classes is not None:
        raise ValueError(
            "Expected `num_classes` with observation_shape=(), and only then. "
            f"Received: {described}, num_classes={num_classes}"
        )
    if not isinstance(described, ObservationSpec | NestedSpec):
        described = ObservationSpec.of_space(described)
    return described.for_network


def observation_input(observation, raw=False):
    """The `keras.Input` of what `observations` returned, or the nest of them.

    Those of a dictionary have the names of its entries.

    Args:
        observation: `ObservationSpec`, `NestedSpec`, or a shape.
        raw: Boolean, whether inputs have the dtype of the environment. By default they
            are float32, but for integers that it cannot hold.
    """
    if not isinstance(observation, ObservationSpec | NestedSpec):
        return keras.Input(observation, name="observation")
    inputs = []
    for path, spec in entries_of(observation):
        wide = np.any(spec.start) or (spec.is_integer and not spec.fits_float32)
        dtype = spec.dtype if wide or raw else "float32"
        inputs.append(keras.Input(spec.shape, name=entry_name(path), dtype=dtype))
    return tf.nest.pack_sequence_as(observation.nest, inputs)


def entry_name(path):
    """Name of an entry of a nest: of its input, and in those of its layers."""
    parts = [str(key).replace("/", "_") for key in path]
    named = path and isinstance(path[0], str)
    return "_".join(parts if named else ["observation", *parts])


def unused_name(name, inputs):
    """A name for a layer that none of the inputs has: Keras allows one of each."""
    taken = {tensor.name for tensor in tf.nest.flatten(inputs)}
    return f"{name}_layer" if name in taken else name


def _one_hot(x, spec):
    """One-hot encoded `[B]`, or the concatenated encodings of all entries."""
    if isinstance(spec.num_classes, int):
        if spec.start:
            x = x - spec.start
        return layers.CategoryEncoding(spec.num_classes, output_mode="one_hot")(x)
    # Each entry has a range of columns of its own.
    sizes = np.ravel(spec.num_classes)
    x = layers.Reshape((len(sizes),))(x) if len(spec.shape) != 1 else x
    offset = np.cumsum(sizes) - sizes - np.ravel(spec.start)
    x = layers.Rescaling(1.0, offset.astype(float).tolist(), dtype="float32")(x)
    return layers.CategoryEncoding(int(sizes.sum()), output_mode="multi_hot")(x)


def _encoder_for(shape):
    sides = shape[:2] if len(shape) == 3 else (0,)
    if min(sides) >= 36:
        return "nature_cnn"
    return "grid_cnn" if min(sides) >= 5 and max(sides) <= 35 else "mlp"


def check_hidden(hidden):
    """`hidden` as a tuple; raises `ValueError` unless it holds positive integers."""
    if isinstance(hidden, np.ndarray) and hidden.ndim == 1:
        hidden = hidden.tolist()
    if not isinstance(hidden, list | tuple | range):
        raise ValueError(
            "Expected `hidden` to be a sequence of layer sizes, such as [64, 64]. "
            f"Received: {hidden!r}"
        )
    for units in hidden:
        check_positive_integer("hidden", units)
    return tuple(map(int, hidden))


def _hidden_gain(activation):
    linear = activation_of(activation) is keras.activations.linear
    return 1.0 if linear else math.sqrt(2.0)
