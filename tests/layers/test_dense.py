"""Tests of `kerasrl2.layers.dense`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.layers import FewUnitsDense
from kerasrl2.layers.dense import dense
from tests.harness import check_layer

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=[5, 7]).astype(np.float32)


def pair(units, **arguments):
    """A `FewUnitsDense` and Keras' layer with the same weights."""
    layers = [kind(units, **arguments) for kind in (FewUnitsDense, keras.layers.Dense)]
    for layer in layers:
        layer.build([None, 7])
    weights = [RNG.normal(size=w.shape) for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def test_is_a_layer(tmp_path):
    output = check_layer(
        lambda **k: FewUnitsDense(2, "tanh", kernel_initializer="ones", **k),
        X,
        tmp_path,
    )
    assert output.shape == (5, 2)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize(
    ("units", "arguments"),
    [(1, {}), (2, {}), (3, {"activation": "tanh"}), (4, {"use_bias": False}), (5, {})],
)
def test_numbers_and_gradients_are_those_of_keras(units, arguments, xla):
    """Of a loss that is not linear, up to second order by the inputs."""

    def run(layer):
        @tf.function(jit_compile=xla)
        def program(x):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    y = layer(x)
                    loss = tf.reduce_sum(tf.square(y))
                slope = tape.gradient(loss, x)
                curved = tf.reduce_sum(tf.square(slope))
            moved = [x, *(weight.value for weight in layer.trainable_weights)]
            return y, slope, outer.gradient(curved, moved)

        return tf.nest.flatten(program(tf.constant(X)))

    ours, theirs = (run(layer) for layer in pair(units, **arguments))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_dtypes_are_those_of_keras(policy):
    outputs = [
        tf.function(layer, jit_compile=True)(X) for layer in pair(3, dtype=policy)
    ]
    assert outputs[0].dtype == outputs[1].dtype
    np.testing.assert_allclose(
        *(tf.cast(x, tf.float64) for x in outputs),
        rtol=1e-12 if policy[0] == "f" else 0.02,
    )


def test_leading_axes_are_free():
    ours, theirs = pair(2)
    x = tf.constant(RNG.normal(size=[4, 3, 7]), tf.float32)
    result = tf.function(ours, jit_compile=True)(x)
    np.testing.assert_allclose(result, theirs(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("units", "products"), [(1, 1), (2, 2), (4, 4), (5, 1)])
def test_few_units_are_columns_in_programs_of_xla_only(units, products):
    ours, _ = pair(units)
    for xla, expected in ((True, products), (False, 1)):
        program = tf.function(ours, jit_compile=xla).get_concrete_function(X)
        types = [operation.type for operation in program.graph.get_operations()]
        assert types.count("MatMul") == expected


@pytest.mark.parametrize("units", [1, 2, 4, 5])
def test_networks_have_it_where_units_are_few(units):
    kind = FewUnitsDense if units in (2, 4) else keras.layers.Dense
    assert type(dense(units, 1.0)) is kind
    model = krl.layers.actor_critic((7,), units, hidden=(8,))
    assert type(model.get_layer("policy")) is kind
    assert type(model.get_layer("value")) is keras.layers.Dense
    network = krl.layers.q_network((7,), units, hidden=(8,))
    assert type(network.get_layer("values")) is kind


def test_loads_what_was_saved_with_the_layer_of_keras(tmp_path):
    """Agents of before have `keras.layers.Dense`, and weights fit both."""
    x = keras.Input([4])
    outputs = [keras.layers.Dense(n, name=name)(x) for n, name in [(2, "p"), (1, "v")]]
    head = krl.distributions.Categorical(2)
    agent = krl.agents.PPO(keras.Model(x, outputs), head, seed=0)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.agents.load_agent(tmp_path / "agent.keras")
    assert type(loaded.network.get_layer("p")) is keras.layers.Dense
    observation = np.ones([3, 4], np.float32)
    np.testing.assert_array_equal(
        loaded.predict(observation), agent.predict(observation)
    )
