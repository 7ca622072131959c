"""Convolutional encoders, as functions that return Keras models."""

import math

import keras
from keras import layers

from kerasrl2._checks import check_positive_integer, plain_numbers
from kerasrl2.layers.dense import dense
from kerasrl2.layers.pixels import PixelConv2D


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


@plain_numbers
def impala_cnn(
    input_shape=(84, 84, 4),
    filters=(16, 32, 32),
    units=256,
    name="impala_cnn",
    pixel_max=255.0,
):
    """The residual network of IMPALA: better than `nature_cnn`, and slower.

    Figure 3 (right) of Espeholt et al. (2018), https://arxiv.org/abs/1802.01561: for
    each number of `filters` a 3x3 convolution, 3x3 max pooling with stride 2 and two
    residual blocks of two 3x3 convolutions; then ReLU and a dense layer with ReLU.
    Kernels are orthogonal, gain sqrt(2).

    Args:
        input_shape: Tuple `(H, W, C)`, channels last, at least 8 x 8.
        filters: Sequence of integers >= 1, one for each section.
        units: Integer >= 1, size of the dense layer, or None to end with the flattened
            features (3872 for 84 x 84).
        name: String.
        pixel_max: Float > 0, the largest pixel; 1 for pixels from 0 to 1.

    Returns:
        `keras.Model`, `[B, H, W, C]` uint8 or float to `[B, F]`.

    Example:
    >>> impala_cnn((84, 84, 4), units=None).output_shape
    (None, 3872)
    """
    for count in filters:
        check_positive_integer("filters", count)
    inputs = x = _image_input(input_shape, 8)
    for i, count in enumerate(filters):
        x = _convolution(count, 3, 1, pixel_max if i == 0 else 1.0, padding="same")(x)
        x = layers.MaxPooling2D(3, 2, padding="same")(x)
        for _ in range(2):
            block = layers.ReLU()(x)
            block = _convolution(count, 3, 1, padding="same", activation="relu")(block)
            block = _convolution(count, 3, 1, padding="same")(block)
            x = layers.Add()([x, block])
    return keras.Model(inputs, _flattened(layers.ReLU()(x), units), name=name)


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
        largest = pixel_max if i == 0 else 1.0
        x = _convolution(filters, size, stride, largest, activation="relu")(x)
    return _flattened(x, units)


def _convolution(filters, size, stride, pixel_max=1.0, **arguments):
    """A convolution with an orthogonal kernel, which divides by `pixel_max`."""
    arguments["kernel_initializer"] = keras.initializers.Orthogonal(math.sqrt(2.0))
    if pixel_max == 1.0:
        return layers.Conv2D(filters, size, stride, **arguments)
    return PixelConv2D(filters, size, stride, pixel_max=pixel_max, **arguments)


def _flattened(x, units):
    """The flattened features, through a dense layer of `units`, if given."""
    x = layers.Flatten()(x)
    if units is None:
        return x
    return dense(units, math.sqrt(2.0), activation="relu")(x)
