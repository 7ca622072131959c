"""Network builders: functions that return Keras models, with the usual initialisers."""

import math

import keras
import numpy as np
from keras import layers

from kerasrl2._checks import check_choice, check_positive_integer, plain_numbers
from kerasrl2.layers.activations import activation_of
from kerasrl2.layers.pictures import (
    ENCODERS,
    as_picture,
    encoder_of,
    pixel_max,
    scaled,
)
from kerasrl2.layers.pixels import PixelConv2D
from kerasrl2.layers.specs import ObservationSpec


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


@plain_numbers
def nature_cnn(input_shape=(84, 84, 4), units=512, name="nature_cnn", pixel_max=255.0):
    """The convolutional network of the Nature DQN, on pixels 0 to 255.

    Mnih et al. (2015), https://doi.org/10.1038/nature14236, methods: 32 filters of 8x8
    with stride 4, 64 of 4x4 with stride 2, 64 of 3x3 with stride 1, then a dense layer,
    all ReLU. The first is a `PixelConv2D`: pixels are divided by 255 inside. Kernels
    are orthogonal, gain sqrt(2).

    Args:
        input_shape: Tuple `(H, W, C)`, channels last, at least 36 x 36.
        units: Integer >= 1, size of the dense layer, or None to end with the flattened
            features (3136 for 84 x 84).
        name: String.
        pixel_max: Float > 0, the largest pixel; 1 for pixels from 0 to 1.

    Returns:
        `keras.Model`, `[B, H, W, C]` uint8 or float to `[B, F]`.

    Example:
    >>> nature_cnn((84, 84, 4), units=None).output_shape
    (None, 3136)
    """
    layout = [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
    inputs = _image_input(input_shape, 36)
    outputs = _convolutions(inputs, layout, units, pixel_max)
    return keras.Model(inputs, outputs, name=name)


@plain_numbers
def small_cnn(input_shape=(32, 32, 3), units=256, name="small_cnn", pixel_max=255.0):
    """A convolutional network for pictures too small for `nature_cnn`.

    32 filters of 4x4 with stride 2, 64 of 3x3 with stride 2, 64 of 3x3 with stride 1,
    then a dense layer, all ReLU. Kernels are orthogonal, gain sqrt(2).

    Args:
        input_shape: Tuple `(H, W, C)`, channels last, at least 16 x 16.
        units: Integer >= 1, size of the dense layer, or None to end with the flattened
            features (1600 for 32 x 32).
        name: String.
        pixel_max: Float > 0, the largest pixel; 1 for pixels from 0 to 1.

    Returns:
        `keras.Model`, `[B, H, W, C]` uint8 or float to `[B, F]`.

    Example:
    >>> small_cnn((32, 32, 3), units=None).output_shape
    (None, 1600)
    """
    inputs = _image_input(input_shape, 16)
    layout = [(32, 4, 2), (64, 3, 2), (64, 3, 1)]
    outputs = _convolutions(inputs, layout, units, pixel_max)
    return keras.Model(inputs, outputs, name=name)


@plain_numbers
def grid_cnn(
    input_shape=(10, 10, 4), filters=16, units=128, name="grid_cnn", pixel_max=1.0
):
    """A small convolutional network for boards of cells, such as the grid games.

    The network of the DQN in MinAtar, Young and Tian (2019),
    https://arxiv.org/abs/1903.03176: `filters` of 3x3 with stride 1, then a dense
    layer, all ReLU. Values are taken as they are: planes of zeros and ones need no
    scaling. Kernels are orthogonal, gain sqrt(2).

    Args:
        input_shape: Tuple `(H, W, C)`, channels last, at least 3 x 3.
        filters: Integer >= 1.
        units: Integer >= 1, size of the dense layer, or None to end with the flattened
            features (1024 for 10 x 10 and 16 filters).
        name: String.
        pixel_max: Float > 0, what values are divided by: 255 for tiles of pixels.

    Returns:
        `keras.Model`, `[B, H, W, C]` uint8 or float to `[B, F]`.

    Example:
    >>> grid_cnn((10, 10, 4)).output_shape
    (None, 128)
    >>> grid_cnn((10, 10, 4), units=None).output_shape
    (None, 1024)
    """
    check_positive_integer("filters", filters)
    inputs = _image_input(input_shape, 3)
    outputs = _convolutions(inputs, [(filters, 3, 1)], units, pixel_max)
    return keras.Model(inputs, outputs, name=name)


_CONVOLUTIONAL = {
    "nature_cnn": nature_cnn,
    "small_cnn": small_cnn,
    "grid_cnn": grid_cnn,
}


def features(x, observation, hidden, activation, encoder, name):
    """The layers from an observation to the features that output layers read.

    Args:
        x: Keras tensor `[B, *shape]`, observations.
        observation: `ObservationSpec`, or the shape of one observation as a tuple.
            Those of a spec are brought to channels last, and scaled by its bounds.
        hidden: Sequence of integers >= 1, units of the dense layers, which follow the
            flattened features of a convolutional network.
        activation: String or callable, of the dense layers.
        encoder: `"mlp"`, `"nature_cnn"`, `"small_cnn"`, `"grid_cnn"` or `"auto"`: for a
            spec see `encoder_for`; for a tuple of three sizes, with the first two at
            least 36, `"nature_cnn"`; from 5 to 35, `"grid_cnn"`; of all else `"mlp"`.
        name: String, of the dense part; the convolutional one gets `"_cnn"` after it.

    Returns:
        Keras tensor `[B, F]`.

    Example:
    >>> observation = keras.Input((10, 10, 4))
    >>> features(observation, (10, 10, 4), (64,), "relu", "auto", name="q").shape
    (None, 64)
    """
    check_choice("encoder", encoder, ENCODERS)
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
    if encoder != "mlp":
        build = _CONVOLUTIONAL[encoder]
        x = build(x.shape[1:], units=None, name=f"{name}_cnn", **arguments)(x)
    return mlp(x.shape[1:], hidden, activation, name=name)(x)


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
    boards of 0 and 1 up to 35 `"grid_cnn"`; all else is flattened.

    Args:
        space: `gymnasium.spaces.Box` or `Discrete`, or an `ObservationSpec`.
        hidden: Sequence of integers >= 1, units of the dense layers at the end.
        activation: String or callable, of the dense layers.
        encoder: `"mlp"`, `"nature_cnn"`, `"small_cnn"`, `"grid_cnn"`, or `"auto"`, by
            the space.
        name: String.

    Returns:
        `keras.Model`, `[B, *space.shape]` to `[B, F]`.

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
        described: `ObservationSpec`, `gymnasium.Space`, or the shape as a sequence.
        num_classes: Integer or None, with the shape `()` only.

    Returns:
        `ObservationSpec`, or a tuple where nothing but the shape is known.
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
    if isinstance(described, ObservationSpec):
        return described
    return ObservationSpec.of_space(described)


def observation_input(observation):
    """The `keras.Input` of what `observations` returned."""
    if not isinstance(observation, ObservationSpec):
        return keras.Input(observation, name="observation")
    spec = observation
    # As float32, but for integers that it cannot hold.
    wide = spec.start or (spec.is_integer and not spec.fits_float32)
    dtype = spec.dtype if wide else "float32"
    return keras.Input(spec.shape, name="observation", dtype=dtype)


def _one_hot(x, spec):
    if spec.start:
        x = x - spec.start
    return layers.CategoryEncoding(spec.num_classes, output_mode="one_hot")(x)


def _encoder_for(shape):
    sides = shape[:2] if len(shape) == 3 else (0,)
    if min(sides) >= 36:
        return "nature_cnn"
    return "grid_cnn" if min(sides) >= 5 and max(sides) <= 35 else "mlp"


def _image_input(shape, side):
    if len(shape) != 3 or min(shape[:2]) < side:
        raise ValueError(
            f"Expected images (H, W, C) of at least {side} x {side}, channels last. "
            f"Received: input_shape={tuple(shape)}"
        )
    return keras.Input(tuple(shape))


def _convolutions(x, layout, units, pixel_max):
    """ReLU convolutions (filters, size, stride), flattened; then `units`, if given."""
    for i, (filters, size, stride) in enumerate(layout):
        kernel = keras.initializers.Orthogonal(math.sqrt(2.0))
        arguments = {"activation": "relu", "kernel_initializer": kernel}
        convolution = layers.Conv2D
        if i == 0 and pixel_max != 1.0:
            convolution, arguments["pixel_max"] = PixelConv2D, pixel_max
        x = convolution(filters, size, stride, **arguments)(x)
    x = layers.Flatten()(x)
    if units is None:
        return x
    return dense(units, math.sqrt(2.0), activation="relu")(x)


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


def dense(units, gain, **arguments):
    """A dense layer with an orthogonal kernel."""
    kernel = keras.initializers.Orthogonal(gain)
    return layers.Dense(units, kernel_initializer=kernel, **arguments)
