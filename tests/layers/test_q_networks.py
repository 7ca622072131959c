"""Tests of `kerasrl2.layers.q_networks`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2._private import layers_of as all_layers
from kerasrl2.layers import (
    DuelingHead,
    NoisyDense,
    frozen_copy,
    q_network,
    seed_weights,
)

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def layers_of(model, kind):
    layers = all_layers(model)[1:]
    return [layer for layer in layers if isinstance(layer, kind)]


def sizes(model):
    """Inputs and outputs of all dense layers."""
    kinds = keras.layers.Dense | NoisyDense
    return [tuple(layer.kernel.shape) for layer in layers_of(model, kinds)]


@pytest.mark.parametrize(
    ("dueling", "noisy"),
    [
        pytest.param(False, False, marks=pytest.mark.long),
        (True, True),
        pytest.param(True, False, marks=pytest.mark.long),
        pytest.param(False, True, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    "outputs", [{}, {"num_atoms": 5}, {"fractions": True}], ids=str
)
def test_every_kind(tmp_path, noisy, dueling, outputs):
    model = q_network((4,), 3, (8, 6), dueling=dueling, noisy=noisy, **outputs)
    x = np.random.default_rng(0).normal(size=[7, 4]).astype("f4")
    shape = [7, 3]
    if outputs:
        shape = [7, 3, 5]
    if "fractions" in outputs:
        x = [x, np.random.default_rng(1).random([7, 5]).astype("f4")]
    y = model(x)
    assert y.shape == shape
    np.testing.assert_allclose(
        tf.function(model, jit_compile=True)(x), y, rtol=1e-5, atol=1e-6
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), y)
    np.testing.assert_array_equal(frozen_copy(model)(x), y)
    assert np.array_equal(model(x, training=True), model(x, training=True)) != noisy
    with tf.GradientTape() as tape:
        y = model(x, training=True)
    variables = [weight.value for weight in model.trainable_weights]
    assert None not in tape.gradient(y, variables)


def test_the_head_is_the_last_hidden_layer_and_the_outputs():
    plain = q_network((4,), 3, (8, 6))
    assert sizes(plain) == [(4, 8), (8, 6), (6, 3)]
    noisy = q_network((4,), 3, (8, 6), noisy=True, sigma=0.2, num_atoms=5)
    assert sizes(noisy) == [(4, 8), (8, 6), (6, 15)]
    assert [layer.sigma for layer in layers_of(noisy, NoisyDense)] == [0.2, 0.2]
    dueling = q_network((4,), 3, (8, 6), dueling=True, activation="tanh")
    assert sorted(sizes(dueling)) == [(4, 8), (6, 1), (6, 3), (8, 6), (8, 6)]
    (head,) = layers_of(dueling, DuelingHead)
    assert head.value_layers[0].activation is keras.activations.tanh
    assert sorted(sizes(q_network((4,), 3, (), dueling=True))) == [(4, 1), (4, 3)]
    assert sizes(q_network((2, 3), 3, ())) == [(6, 3)]


def test_atari_is_the_papers():
    """1 685 667 weights for 3 actions with one stream of 512, Mnih et al. (2015)."""
    plain = q_network((84, 84, 4), 3, (512,))
    assert sizes(plain) == [(3136, 512), (512, 3)]
    convolutions = 32 * 257 + 64 * 513 + 64 * 577
    assert plain.count_params() == convolutions + 512 * 3137 + 3 * 513
    dueling = q_network((84, 84, 4), 3, (512,), dueling=True, noisy=True, num_atoms=51)
    assert sorted(sizes(dueling)) == [(512, 51), (512, 153), (3136, 512), (3136, 512)]
    quantile = q_network((84, 84, 4), 3, (512,), fractions=True)
    assert sizes(quantile) == [(64, 3136), (3136, 512), (512, 3)]


def test_encoders():
    grid = q_network((10, 10, 4), 3, (128,))
    assert sizes(grid) == [(1024, 128), (128, 3)]
    assert sizes(q_network((10, 10, 4), 3, (8,), encoder="mlp")) == [(400, 8), (8, 3)]


def test_one_hot_observations():
    model = q_network((), 2, (), num_classes=3)
    (layer,) = layers_of(model, keras.layers.Dense)
    np.testing.assert_allclose(model(np.array([2, 0])), layer.kernel.numpy()[[2, 0]])


def test_kernels_are_orthogonal_with_gain():
    model = q_network((16,), 3, (12, 8))
    for layer, gain in zip(
        layers_of(model, keras.layers.Dense), [2**0.5, 2**0.5, 1.0], strict=True
    ):
        values = np.linalg.svd(layer.kernel, compute_uv=False)
        np.testing.assert_allclose(values, gain, rtol=1e-4)


def test_quantiles_belong_to_their_fractions():
    """Permuting the fractions permutes the last axis; rows do not mix."""
    model = q_network((4,), 3, fractions=True)
    rng = np.random.default_rng(0)
    x, tau = rng.normal(size=[2, 4]).astype("f4"), rng.random([2, 5]).astype("f4")
    y = model([x, tau]).numpy()
    np.testing.assert_allclose(model([x, tau[:, ::-1]]), y[:, :, ::-1], atol=1e-6)
    np.testing.assert_allclose(model([x[:1], tau[:1]]), y[:1], atol=1e-6)
    assert np.ptp(y, axis=2).min() > 1e-4


def test_seeding_makes_noisy_networks_equal():
    first, second = (q_network((4,), 3, noisy=True, dueling=True) for _ in range(2))
    x = np.ones([1, 4], "f4")
    for model in (first, second):
        seed_weights(model, 5)
    for _ in range(2):
        np.testing.assert_array_equal(first(x, training=True), second(x, training=True))


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(
    "outputs", [{}, {"num_atoms": 5}, {"fractions": True}], ids=str
)
def test_outputs_stay_float32_under_mixed_precision(outputs, noisy):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        for dueling in (False, True):
            model = q_network((4,), 2, dueling=dueling, noisy=noisy, **outputs)
            x = np.ones([1, 4], "f4")
            x = [x, x] if "fractions" in outputs else x
            assert model(x).dtype == tf.float32
            assert model(x, training=True).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_bad_input():
    with pytest.raises(ValueError, match="`num_actions`"):
        q_network((4,), 0)
    with pytest.raises(ValueError, match="`num_classes` with"):
        q_network((), 2)
    with pytest.raises(ValueError, match="`num_classes` with"):
        q_network((4,), 2, num_classes=3)
    with pytest.raises(ValueError, match="either `num_atoms` or `fractions`"):
        q_network((4,), 2, num_atoms=3, fractions=True)
    with pytest.raises(ValueError, match="`num_atoms`"):
        q_network((4,), 2, num_atoms=0)
    with pytest.raises(ValueError, match="`hidden`"):
        q_network((4,), 2, hidden=64)
    with pytest.raises(ValueError, match="Did you mean 'nature_cnn'"):
        q_network((4,), 2, encoder="natur_cnn")
