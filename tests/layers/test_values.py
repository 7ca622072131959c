"""Tests of `kerasrl2.layers.values`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.layers import DuelingHead, FractionEmbedding, NoisyDense
from tests.harness import check_layer

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def plain_head(num_atoms=None):
    """A head that reads `V`, then `A`, off its features."""
    atoms = num_atoms or 1
    head = DuelingHead(2, num_atoms)
    head.build([None, 3 * atoms])
    identity = np.eye(3 * atoms, dtype="f4")
    head.value_layers[0].kernel.assign(identity[:, :atoms])
    head.advantage_layers[0].kernel.assign(identity[:, atoms:])
    return head


@pytest.mark.parametrize(
    ("features", "q"),
    [  # systems.md 000-03: V, A, A
        ([[2.0, 1.0, 3.0]], [[1.0, 3.0]]),
        ([[2.0, 101.0, 103.0]], [[1.0, 3.0]]),  # a constant in A does not matter
        ([[0.0, 1.0, 3.0], [0.0, 10.0, 20.0]], [[-1.0, 1.0], [-5.0, 5.0]]),  # not X8
    ],
)
def test_check_numbers(compiled, features, q):
    output = compiled(plain_head())(tf.constant(features))
    np.testing.assert_allclose(output, q, atol=1e-4)


def test_atoms_are_combined_one_by_one(compiled):
    """Atom 1: V = 2, A = [1, 3]; atom 2: V = 0, A = [10, 20]."""
    features = tf.constant([[[2.0, 0.0, 1.0, 10.0, 3.0, 20.0]]])
    output = compiled(plain_head(2))(features)
    np.testing.assert_allclose(output, [[[[1.0, -5.0], [3.0, 5.0]]]], atol=1e-5)


def test_slopes_by_hand():
    """d Q(a) / d A(b) = [a = b] - 1/2, d Q(a) / d V = 1."""
    head, features = plain_head(), tf.constant([[2.0, 1.0, 3.0]])
    with tf.GradientTape() as tape:
        tape.watch(features)
        first = head(features)[0, 0]
    np.testing.assert_allclose(tape.gradient(first, features), [[1.0, 0.5, -0.5]])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        pytest.param({"num_atoms": 5}, marks=pytest.mark.long),
        pytest.param({"units": 7, "activation": "tanh"}, marks=pytest.mark.long),
        {"num_atoms": 2, "units": 7, "noisy": True, "sigma": 0.3},
    ],
    ids=str,
)
def test_head_is_a_layer(tmp_path, arguments):
    def make(**more):
        keras.utils.set_random_seed(3)
        return DuelingHead(3, **arguments, **more)

    x = np.random.default_rng(0).normal(size=[4, 5]).astype("f4")
    output = check_layer(make, x, tmp_path)
    atoms = arguments.get("num_atoms")
    assert output.shape == (4, 3, atoms) if atoms else (4, 3)
    head = make()
    assert head(np.zeros([2, 6, 5])).shape[:3] == (2, 6, 3)  # leading axes are free
    alone = make()
    np.testing.assert_allclose(alone(x[1:2]), alone(x)[1:2], atol=1e-6)


def test_streams_have_hidden_layers_of_their_own():
    head = DuelingHead(3, num_atoms=4, units=8, noisy=True, sigma=0.3)
    head.build([None, 5])
    layers = [*head.value_layers, *head.advantage_layers]
    assert [layer.kernel.shape for layer in layers] == [(5, 8), (8, 4), (5, 8), (8, 12)]
    assert all(isinstance(layer, NoisyDense) for layer in layers)
    assert all(layer.sigma == 0.3 for layer in layers)
    functions = [keras.activations.serialize(layer.activation) for layer in layers]
    assert functions == ["relu", "linear", "relu", "linear"]


def test_noise_only_in_training():
    head = DuelingHead(3, units=8, noisy=True)
    x = np.ones([1, 5], "f4")
    np.testing.assert_array_equal(head(x), head(x))
    assert not np.array_equal(head(x, training=True), head(x, training=True))
    layers = [*head.value_layers, *head.advantage_layers]
    assert [int(layer.noise_state[1]) for layer in layers] == [2, 2, 2, 2]
    inputs = keras.Input([5])
    model = keras.Model(inputs, head(inputs))
    model(x, training=True)
    assert [int(layer.noise_state[1]) for layer in head.value_layers] == [3, 3]


def test_kernels_are_orthogonal():
    head = DuelingHead(3, units=4)
    head.build([None, 6])
    for layers in (head.value_layers, head.advantage_layers):
        for layer, gain in zip(layers, [2**0.5, 1.0], strict=True):
            values = np.linalg.svd(layer.kernel, compute_uv=False)
            np.testing.assert_allclose(values, gain, rtol=1e-5)


def test_embedding_by_hand(compiled):
    """n = 3, cos(pi i / 2) = 1, 0, -1 for i = 0, 1, 2; cos(0) = 1, 1, 1."""
    layer = FractionEmbedding(num_cosines=3)
    features, fractions = tf.constant([[2.0, -3.0]]), tf.constant([[0.5, 0.0]])
    layer.build([features.shape, fractions.shape])
    layer.dense.kernel.assign([[1.0, 2.0], [10.0, 20.0], [0.5, 4.0]])
    layer.dense.bias.assign([0.25, 0.25])
    output = compiled(layer)([features, fractions])
    # relu(1 - 0.5 + 0.25, 2 - 4 + 0.25) = 0.75, 0; relu(11.5 + 0.25, 26 + 0.25)
    np.testing.assert_allclose(output, [[[1.5, 0.0], [23.5, -78.75]]], atol=1e-4)


def test_embedding_trains_features_and_weights():
    layer = FractionEmbedding(8)
    features, fractions = tf.ones([2, 5]), tf.fill([2, 3], 0.3)
    layer([features, fractions])
    with tf.GradientTape() as tape:
        tape.watch(features)
        y = layer([features, fractions])
    variables = [weight.value for weight in layer.trainable_weights]
    slopes = tape.gradient(y, [features, *variables])
    assert len(slopes) == 3
    assert all(np.any(slope.numpy() != 0.0) for slope in slopes)


def test_embedding_in_a_file_and_mixed_precision(tmp_path):
    inputs = [keras.Input([4]), keras.Input([None])]
    model = keras.Model(inputs, FractionEmbedding(16)(inputs))
    assert model.output_shape == (None, None, 4)
    rng = np.random.default_rng(0)
    x = [rng.normal(size=[2, 4]).astype("f4"), rng.random([2, 7]).astype("f4")]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    half = FractionEmbedding(16, dtype="mixed_float16")
    half.build([[2, 4], [2, 7]])
    half.dense.set_weights(model.layers[-1].get_weights())
    output = half(x)
    assert output.dtype == tf.float16
    np.testing.assert_allclose(tf.cast(output, tf.float32), model(x), atol=1e-2)


def test_cosines_are_exact_under_mixed_precision():
    """A fraction in float16 would be off by 2e-4, and 63 pi times that in the angle."""
    layer = FractionEmbedding(64, dtype="mixed_float16")
    fractions = np.float32([[0.7003, 0.9001]])
    layer.build([[1, 1], [1, 2]])
    layer.dense.kernel.assign(np.eye(64, dtype="f4")[:, 63:])
    output = tf.cast(layer([np.ones([1, 1], "f4"), fractions])[:, :, 0], tf.float32)
    wanted = np.maximum(np.cos(np.pi * 63 * fractions.astype("f8")), 0.0)
    assert wanted.max() > 0.1
    np.testing.assert_allclose(output, wanted, atol=1e-3)


def test_bad_input():
    with pytest.raises(ValueError, match="`num_actions`"):
        DuelingHead(0)
    with pytest.raises(ValueError, match="`num_atoms`"):
        DuelingHead(2, num_atoms=0)
    with pytest.raises(ValueError, match="`units`"):
        DuelingHead(2, units=0)
    with pytest.raises(ValueError, match="`num_cosines`"):
        FractionEmbedding(0)
    with pytest.raises(ValueError, match=r"\[B, F\] and fractions \[B, K\]"):
        FractionEmbedding()([np.zeros([2, 3]), np.zeros([2])])
