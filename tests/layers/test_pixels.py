"""`PixelConv2D` is a convolution after `Rescaling(1 / 255)`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.layers import PixelConv2D

IMAGES = np.random.default_rng(0).integers(256, size=(3, 9, 9, 2), dtype="u1")


def pair(**options):
    """The layer and, with the same weights, the two it stands for."""
    options = {"activation": "relu", "bias_initializer": "normal", **options}
    layer = PixelConv2D(5, 3, 2, **options)
    usual = keras.Sequential(
        [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(5, 3, 2, **options)]
    )
    layer(IMAGES)
    usual(IMAGES)
    usual.set_weights(layer.get_weights())
    return layer, usual


def outputs_and_gradients(model, images, mode):
    def function(images):
        with tf.GradientTape() as tape:
            outputs = model(images)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
        values = [weight.value for weight in model.trainable_variables]
        return outputs, tape.gradient(loss, values)

    if mode != "eager":
        function = tf.function(function, jit_compile=mode == "xla")
    with tf.GradientTape():
        return function(tf.constant(images))


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_it_equals_rescaling_and_convolution(mode, dtype):
    layer, usual = pair()
    images = IMAGES.astype(dtype)
    outputs, gradients = outputs_and_gradients(layer, images, mode)
    expected, expected_gradients = outputs_and_gradients(usual, images, mode)
    assert outputs.dtype == tf.float32
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    for a, b in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_it_follows_mixed_precision(policy):
    layer, usual = pair(dtype=policy)
    outputs = layer(IMAGES)
    assert outputs.dtype == layer.compute_dtype
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32), tf.cast(usual(IMAGES), tf.float32), atol=0.05
    )


def test_it_is_saved_with_its_arguments(tmp_path):
    image = keras.Input([9, 9, 2], dtype="uint8")
    model = keras.Model(image, PixelConv2D(5, 3, 2, activation="relu")(image))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
