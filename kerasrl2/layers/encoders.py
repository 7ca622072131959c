"""Network builders: functions that return Keras models, with the usual initialisers."""

import functools
import math

import keras
from keras import layers

from kerasrl2._checks import check_choice, check_positive_integer
from kerasrl2.layers.activations import activation_of
from kerasrl2.layers.heads import StateIndependentLogStd
from kerasrl2.layers.pixels import PixelConv2D

POLICY_GAIN, VALUE_GAIN = 0.01, 1.0
ENCODERS = "auto", "mlp", "nature_cnn", "grid_cnn"


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
    check_hidden(hidden)
    for units in hidden:
        x = _dense(units, _hidden_gain(activation), activation=activation)(x)
    return keras.Model(inputs, x, name=name)


def nature_cnn(input_shape=(84, 84, 4), units=512, name="nature_cnn"):
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

    Returns:
        `keras.Model`, `[B, H, W, C]` uint8 or float to `[B, F]`.

    Example:
    >>> nature_cnn((84, 84, 4), units=None).output_shape
    (None, 3136)
    """
    layout = [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
    inputs = _image_input(input_shape, 36)
    outputs = _convolutions(inputs, layout, units, first=PixelConv2D)
    return keras.Model(inputs, outputs, name=name)


def grid_cnn(input_shape=(10, 10, 4), filters=16, units=128, name="grid_cnn"):
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
    return keras.Model(
        inputs, _convolutions(inputs, [(filters, 3, 1)], units), name=name
    )


def features(x, shape, hidden, activation, encoder, name):
    """The layers from an observation to the features that output layers read.

    Args:
        x: Keras tensor `[B, *shape]`, observations.
        shape: Tuple, one observation.
        hidden: Sequence of integers >= 1, units of the dense layers, which follow the
            flattened features of a convolutional network.
        activation: String or callable, of the dense layers.
        encoder: `"mlp"`, `"nature_cnn"`, `"grid_cnn"` or `"auto"`. Of three axes, with
            the first two at least 36, `"auto"` makes `"nature_cnn"`; from 5 to 35,
            `"grid_cnn"`; of all else `"mlp"`.
        name: String, of the dense part; the convolutional one gets `"_cnn"` after it.

    Returns:
        Keras tensor `[B, F]`.

    Example:
    >>> observation = keras.Input((10, 10, 4))
    >>> features(observation, (10, 10, 4), (64,), "relu", "auto", name="q").shape
    (None, 64)
    """
    check_choice("encoder", encoder, ENCODERS)
    if encoder == "auto":
        encoder = _encoder_for(shape)
    if encoder != "mlp":
        convolutional = nature_cnn if encoder == "nature_cnn" else grid_cnn
        x = convolutional(shape, units=None, name=f"{name}_cnn")(x)
    return mlp(x.shape[1:], hidden, activation, name=name)(x)


def _encoder_for(shape):
    sides = shape[:2] if len(shape) == 3 else (0,)
    if min(sides) >= 36:
        return "nature_cnn"
    return "grid_cnn" if min(sides) >= 5 and max(sides) <= 35 else "mlp"


def actor_critic(
    observation_shape,
    num_parameters,
    hidden=(64, 64),
    activation="tanh",
    shared=False,
    encoder="auto",
    gaussian_std=None,
    initial_log_std=0.0,
    num_classes=None,
):
    """A model with two outputs: parameters of a policy head, and the state's value.

    The last layers are linear, float32 even under mixed precision, orthogonal with gain
    0.01 for the policy (so that it starts out nearly uniform) and 1 for the value.

    Args:
        observation_shape: Tuple, one observation. `()` for a discrete observation.
        num_parameters: Integer >= 1, `head.num_parameters` (`2 D` for a Gaussian).
        hidden: Sequence of integers, units of the dense layers. With convolutions they
            follow the flattened features; the papers' are `(512,)` for `"nature_cnn"`
            and `(128,)` for `"grid_cnn"`.
        activation: String or callable, of the dense layers.
        shared: Boolean, whether policy and value share all layers but the last.
        encoder: `"mlp"`, `"nature_cnn"` (pixels 0 to 255), `"grid_cnn"` (boards of
            cells), or `"auto"`, by the shape, see `features`.
        gaussian_std: None: one linear layer makes all parameters. `"independent"`: it
            makes the first half, means; the log standard deviations are weights of
            their own (`StateIndependentLogStd`). `"dependent"`: a second linear layer
            makes them from the features.
        initial_log_std: Float, their first value with the two latter.
        num_classes: Integer >= 1, the number of discrete observations, which are
            one-hot encoded; with `observation_shape` `()` only.

    Returns:
        `keras.Model`, `[B, *observation_shape]` to `[parameters, value]`, float32
        `[B, P]` and `[B, 1]`.

    Example:
    >>> model = actor_critic((4,), num_parameters=2)
    >>> model.output_shape
    [(None, 2), (None, 1)]
    """
    check_positive_integer("num_parameters", num_parameters)
    check_hidden(hidden)
    check_choice("encoder", encoder, ENCODERS)
    check_choice("gaussian_std", gaussian_std, (None, "independent", "dependent"))
    shape = tuple(observation_shape)
    if (num_classes is None) == (shape == ()):
        raise ValueError(
            "Expected `num_classes` with observation_shape=(), and only then. "
            f"Received: observation_shape={shape}, num_classes={num_classes}"
        )
    inputs = keras.Input(shape, name="observation")
    x = inputs
    if num_classes is not None:
        x = layers.CategoryEncoding(num_classes, output_mode="one_hot")(x)
    encode = functools.partial(features, x, shape, hidden, activation, encoder)
    policy_features = encode("encoder" if shared else "policy_encoder")
    value_features = policy_features if shared else encode("value_encoder")
    parameters = _policy_output(
        policy_features, num_parameters, gaussian_std, initial_log_std
    )
    value = _dense(1, VALUE_GAIN, dtype="float32", name="value")(value_features)
    return keras.Model(inputs, [parameters, value], name="actor_critic")


def _image_input(shape, side):
    if len(shape) != 3 or min(shape[:2]) < side:
        raise ValueError(
            f"Expected images (H, W, C) of at least {side} x {side}, channels last. "
            f"Received: input_shape={tuple(shape)}"
        )
    return keras.Input(tuple(shape))


def _convolutions(x, layout, units, first=layers.Conv2D):
    """ReLU convolutions (filters, size, stride), flattened; then `units`, if given."""
    for i, (filters, size, stride) in enumerate(layout):
        kernel = keras.initializers.Orthogonal(math.sqrt(2.0))
        convolution = first if i == 0 else layers.Conv2D
        x = convolution(
            filters, size, stride, activation="relu", kernel_initializer=kernel
        )(x)
    x = layers.Flatten()(x)
    if units is None:
        return x
    return _dense(units, math.sqrt(2.0), activation="relu")(x)


def _policy_output(x, num_parameters, gaussian_std, initial_log_std):
    if gaussian_std is None:
        return _dense(num_parameters, POLICY_GAIN, dtype="float32", name="policy")(x)
    if num_parameters % 2:
        raise ValueError(
            "Expected an even `num_parameters`, means and log standard deviations, "
            f"with gaussian_std={gaussian_std!r}. "
            f"Received: num_parameters={num_parameters}"
        )
    size = num_parameters // 2
    mean = _dense(size, POLICY_GAIN, dtype="float32", name="mean")(x)
    if gaussian_std == "independent":
        return StateIndependentLogStd(initial_log_std, dtype="float32", name="policy")(
            mean
        )
    bias = keras.initializers.Constant(initial_log_std)
    log_std = _dense(
        size, POLICY_GAIN, dtype="float32", name="log_std", bias_initializer=bias
    )(x)
    return layers.Concatenate(dtype="float32", name="policy")([mean, log_std])


def check_hidden(hidden):
    """Raises `ValueError` unless `hidden` is a sequence of positive integers."""
    if not isinstance(hidden, list | tuple):
        raise ValueError(
            "Expected `hidden` to be a sequence of layer sizes, such as [64, 64]. "
            f"Received: {hidden!r}"
        )
    for units in hidden:
        check_positive_integer("hidden", units)


def _hidden_gain(activation):
    linear = activation_of(activation) is keras.activations.linear
    return 1.0 if linear else math.sqrt(2.0)


def _dense(units, gain, **arguments):
    kernel = keras.initializers.Orthogonal(gain)
    return layers.Dense(units, kernel_initializer=kernel, **arguments)
