"""What every layer must do, `check_layer`; and modes that only long runs take."""

import keras
import numpy as np
import pytest
import tensorflow as tf

LONG_GRAPH, LONG_XLA = (
    pytest.param(mode, marks=pytest.mark.long) for mode in ("graph", "xla")
)
# For tests of what does not depend on the mode, where another test compares the modes.
compiled_in_long_runs = pytest.mark.parametrize(
    "compiled", ["eager", LONG_GRAPH, LONG_XLA], indirect=True
)
xla_in_long_runs = pytest.mark.parametrize(
    "compiled", ["eager", "graph", LONG_XLA], indirect=True
)


def check_layer(make_layer, x, tmp_path):
    """Runs a layer in every way users do; returns its output for `x`.

    Args:
        make_layer: Callable, keyword arguments to a new layer. It must pass them on to
            the base layer.
        x: Array `[B, ...]`, an input.
        tmp_path: Directory for the saved model.
    """
    layer = make_layer(name="under_test")
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype.name), layer])
    output = model(x)
    assert tuple(model.output_shape) == (None, *output.shape[1:])
    assert keras.backend.standardize_dtype(output.dtype) == model.outputs[0].dtype

    compiled = tf.function(model, jit_compile=True)(tf.constant(x))
    np.testing.assert_allclose(compiled, output, rtol=1e-5, atol=1e-6)
    row = tf.function(model)(tf.constant(x[:1]))
    np.testing.assert_allclose(row, output[:1], rtol=1e-5, atol=1e-6)

    config = layer.get_config()
    serialized = keras.saving.serialize_keras_object(layer)
    assert serialized["registered_name"].startswith("kerasrl2>")
    copy = keras.saving.deserialize_keras_object(serialized)
    assert copy.get_config() == config

    rng = np.random.default_rng(0)
    model.set_weights([w + rng.random(w.shape) for w in model.get_weights()])
    model.save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras")
    assert [w.name for w in loaded.weights] == [w.name for w in model.weights]
    np.testing.assert_array_equal(loaded(x), model(x))

    half = make_layer(dtype="mixed_float16")
    assert all(w.dtype == "float32" for w in half.weights)
    half_output = half(x)
    if keras.backend.is_float_dtype(output.dtype.name):
        assert half_output.dtype == tf.float16
    np.testing.assert_allclose(half_output, output, rtol=2e-2, atol=2e-3)
    return output
