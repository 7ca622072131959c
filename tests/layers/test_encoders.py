"""Tests of `kerasrl2.layers.encoders`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2._private import layers_of
from kerasrl2.layers import (
    PixelConv2D,
    actor_critic,
    grid_cnn,
    mlp,
    nature_cnn,
    seed_weights,
)
from kerasrl2.layers.encoders import features

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def kernels(model):
    found = []
    for layer in layers_of(model)[1:]:
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D):
            kernel = layer.kernel.numpy()
            found.append((layer, kernel.reshape(-1, kernel.shape[-1])))
    return found


def gain(kernel):
    """The common singular value of a scaled orthogonal matrix."""
    values = np.linalg.svd(kernel, compute_uv=False)
    np.testing.assert_allclose(values, values[0], rtol=1e-4)
    return values[0]


def test_mlp():
    model = mlp((2, 3), hidden=(8, 5), activation="relu")
    assert model(np.zeros([7, 2, 3])).shape == (7, 5)
    for layer, kernel in kernels(model):
        np.testing.assert_allclose(gain(kernel), np.sqrt(2.0), rtol=1e-5)
        np.testing.assert_array_equal(layer.bias, 0.0)
    assert mlp((4,), hidden=()).output_shape == (None, 4)
    linear = mlp((4,), hidden=(4,), activation=None)
    np.testing.assert_allclose(gain(kernels(linear)[0][1]), 1.0, rtol=1e-5)


def test_nature_cnn():
    model = nature_cnn((84, 84, 4), units=None)
    assert model.output_shape == (None, 3136)
    assert [k.shape for _, k in kernels(model)] == [(256, 32), (512, 64), (576, 64)]
    assert nature_cnn().output_shape == (None, 512)
    image = np.random.default_rng(0).integers(256, size=(2, 36, 36, 1), dtype="u1")
    model = nature_cnn((36, 36, 1), units=None)
    np.testing.assert_allclose(model(image), model(image.astype("f4")), rtol=1e-6)
    first = model.layers[1]
    assert isinstance(first, PixelConv2D)
    scaled = tf.nn.conv2d(image / np.float32(255.0), first.kernel, 4, "VALID")
    outputs = keras.Model(model.input, first.output)(image)
    np.testing.assert_allclose(outputs, tf.nn.relu(scaled), rtol=1e-4, atol=1e-5)


def test_grid_cnn():
    model = grid_cnn((10, 10, 4), units=None)
    assert model.output_shape == (None, 1024)
    assert [k.shape for _, k in kernels(model)] == [(36, 16)]
    assert [k.shape for _, k in kernels(grid_cnn())] == [(36, 16), (1024, 128)]
    assert grid_cnn((3, 5, 2), filters=7, units=5).output_shape == (None, 5)
    for layer, kernel in kernels(grid_cnn()):
        np.testing.assert_allclose(gain(kernel), np.sqrt(2.0), rtol=1e-4)
        np.testing.assert_array_equal(layer.bias, 0.0)
    board = np.random.default_rng(0).integers(2, size=(2, 10, 10, 4), dtype="u1")
    by_hand = np.zeros([2, 8, 8, 16], "f4")  # cells as they are, not divided by 255
    kernel = model.layers[1].kernel.numpy()
    for row in range(8):
        for column in range(8):
            patch = board[:, row : row + 3, column : column + 3]
            by_hand[:, row, column] = np.einsum("bijc,ijcf->bf", patch, kernel)
    by_hand = np.maximum(by_hand, 0.0).reshape(2, -1)
    for x in (board, board.astype("f4"), tf.constant(board)):
        np.testing.assert_allclose(model(x), by_hand, rtol=1e-4, atol=1e-5)


GRID, IMAGE = [(3, 3)], [(3, 3), (4, 4), (8, 8)]


@pytest.mark.parametrize(
    ("shape", "encoder", "sizes"),  # sizes: of the kernels of convolutions
    [
        ((10, 10, 4), "auto", GRID),
        ((5, 35, 1), "auto", GRID),
        ((36, 36, 1), "auto", IMAGE),
        ((4, 10, 2), "auto", []),
        ((10, 36, 2), "auto", []),
        ((36, 35, 2), "auto", []),
        ((10, 10), "auto", []),
        ((10, 10, 4), "mlp", []),
        ((36, 36, 1), "mlp", []),
        ((36, 36, 1), "grid_cnn", GRID),
        ((3, 3, 1), "grid_cnn", GRID),
    ],
)
def test_which_encoder_is_chosen(shape, encoder, sizes):
    model = actor_critic(shape, 2, hidden=(4,), encoder=encoder, shared=True)
    found = [layer for layer, _ in kernels(model)]
    convolutions = [x for x in found if isinstance(x, keras.layers.Conv2D)]
    assert sorted(x.kernel_size for x in convolutions) == sizes
    assert model.get_layer("encoder").output_shape == (None, 4)


def test_features_are_what_actor_critic_uses():
    inputs = keras.Input((10, 10, 4))
    x = features(inputs, (10, 10, 4), (8, 6), "relu", "auto", "q")
    model = keras.Model(inputs, x)
    assert [layer.name for layer in model.layers[1:]] == ["q_cnn", "q"]
    assert {k.shape for _, k in kernels(model)} == {(36, 16), (1024, 8), (8, 6)}
    inputs = keras.Input((4,))
    assert features(inputs, (4,), (), "relu", "auto", "q").shape == (None, 4)
    with pytest.raises(ValueError, match="`encoder`"):
        features(inputs, (4,), (), "relu", "cnn", "q")


@pytest.mark.parametrize(
    "arguments",
    [
        {"observation_shape": (4,), "num_parameters": 3},
        {"observation_shape": (2, 3), "num_parameters": 3, "shared": True},
        {"observation_shape": (), "num_parameters": 2, "num_classes": 5},
        {"observation_shape": (4,), "num_parameters": 6, "gaussian_std": "independent"},
        {"observation_shape": (4,), "num_parameters": 6, "gaussian_std": "dependent"},
        {"observation_shape": (36, 40, 2), "num_parameters": 2, "hidden": (8,)},
        {"observation_shape": (10, 10, 4), "num_parameters": 3, "hidden": (8,)},
    ],
    ids=lambda arguments: "-".join(map(str, arguments.values())),
)
def test_actor_critic(tmp_path, arguments):
    model = actor_critic(**arguments)
    shape, size = arguments["observation_shape"], arguments["num_parameters"]
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype("f4")
    if shape == ():
        x = np.arange(5)
    parameters, value = model(x)
    assert parameters.shape == (5, size)
    assert value.shape == (5, 1)
    if len(shape) < 3:  # convolutions: plain graph is the faster way
        for a, b in zip(tf.function(model, jit_compile=True)(x), model(x), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(loaded(x), model(x), strict=True):
        np.testing.assert_array_equal(a, b)
    named = {layer.name: kernel for layer, kernel in kernels(model)}
    np.testing.assert_allclose(gain(named["value"]), 1.0, rtol=1e-4)
    policy = named.get("policy", named.get("mean"))
    np.testing.assert_allclose(gain(policy), 0.01, rtol=1e-4)


def gradients_of(model, output):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(model(np.ones([2, 4], "f4"))[output])
    return tape.gradient(y, model.trainable_weights)


@pytest.mark.parametrize("shared", [False, True])
def test_sharing(shared):
    model = actor_critic((4,), 3, shared=shared)
    policy, value = gradients_of(model, 0), gradients_of(model, 1)
    both = [
        w
        for w, p, v in zip(model.trainable_weights, policy, value, strict=True)
        if p is not None and v is not None
    ]
    assert len(both) == (4 if shared else 0)


@pytest.mark.parametrize("gaussian_std", ["independent", "dependent"])
def test_initial_standard_deviation(gaussian_std):
    model = actor_critic((4,), 6, gaussian_std=gaussian_std, initial_log_std=-0.7)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("f4")
    log_std = model(x)[0][:, 3:]
    np.testing.assert_allclose(log_std, -0.7, atol=0.1)
    same = np.ptp(log_std, axis=0).max() == 0.0
    assert same == (gaussian_std == "independent")


def test_one_hot_observations():
    """Each discrete observation has a row of weights of its own."""
    model = actor_critic((), 2, hidden=(), num_classes=3)
    named = {layer.name: kernel for layer, kernel in kernels(model)}
    np.testing.assert_allclose(model(np.array([2, 0]))[0], named["policy"][[2, 0]])


def test_outputs_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        for std in (None, "independent", "dependent"):
            model = actor_critic((4,), 2, gaussian_std=std)
            assert [y.dtype.name for y in model(np.zeros([1, 4]))] == ["float32"] * 2
    finally:
        keras.config.set_dtype_policy("float32")


def test_bad_input():
    with pytest.raises(ValueError, match=r"36 x 36.*\(4, 84, 84\)"):
        nature_cnn((4, 84, 84))
    with pytest.raises(ValueError, match=r"3 x 3.*\(10, 2, 84\)"):
        grid_cnn((10, 2, 84))
    with pytest.raises(ValueError, match="`filters`"):
        grid_cnn(filters=0)
    with pytest.raises(ValueError, match="Did you mean 'grid_cnn'"):
        actor_critic((10, 10, 4), 3, encoder="grid-cnn")
    with pytest.raises(ValueError, match="even `num_parameters`"):
        actor_critic((4,), 3, gaussian_std="dependent")
    with pytest.raises(ValueError, match="`num_classes` with"):
        actor_critic((), 3)
    with pytest.raises(ValueError, match="`num_classes` with"):
        actor_critic((4,), 3, num_classes=3)
    with pytest.raises(ValueError, match="Did you mean 'nature_cnn'"):
        actor_critic((4,), 3, encoder="natur_cnn")
    with pytest.raises(ValueError, match="`gaussian_std`"):
        actor_critic((4,), 4, gaussian_std="state")
    with pytest.raises(ValueError, match="`hidden`"):
        mlp((4,), hidden=(0,))


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.GRU(2),
        keras.layers.LSTM(2),
        keras.layers.SimpleRNN(2),
        keras.layers.SeparableConv1D(2, 1),
        keras.layers.DepthwiseConv1D(1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_all_random_weights_are_seeded(layer):
    model = keras.Sequential([keras.Input((3, 2)), layer])
    seed_weights(model, 1)
    first = model.get_weights()
    for weight in model.weights:
        if weight.name != "bias":  # those begin as constants
            weight.assign(weight + 1.0)
    seed_weights(model, 1)
    for a, b in zip(first, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
