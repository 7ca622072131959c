"""Tests of `kerasrl2.layers.targets`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasrl2.layers import (
    DuelingHead,
    NoisyDense,
    actor_critic,
    frozen_copy,
    nature_cnn,
    update_target,
)

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

X = np.random.default_rng(0).normal(size=[5, 3]).astype("f4")


class Scaled(layers.Layer):
    """A layer that is not registered."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Subclassed(keras.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense, self.norm = layers.Dense(units), layers.BatchNormalization()

    def call(self, x, training=False):
        return self.norm(self.dense(x), training=training)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class WithoutConfig(keras.Model):
    def __init__(self, dense):
        super().__init__()
        self.dense = dense

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {}


class ForgetsItsSize(Subclassed):
    def get_config(self):
        return {}


def functional():
    inputs = keras.Input([3])
    inner = keras.Sequential([keras.Input([3]), Scaled(2.0), layers.Dense(4)])
    return keras.Model(inputs, [inner(inputs), layers.Dense(1)(inputs)])


def subclassed():
    model = Subclassed(units=6)
    model(X)
    return model


def sequential():
    return keras.Sequential([keras.Input([3]), layers.Dense(2), Scaled(3.0)])


def compiled_sequential():
    model = sequential()
    model.compile("adam", loss="mse")
    return model


def two_inputs():
    inputs = {"a": keras.Input([3], name="a"), "b": keras.Input([3], name="b")}
    return keras.Model(inputs, layers.Dense(2)(inputs["a"] + 2.0 * inputs["b"]))


@pytest.mark.parametrize(
    "make",
    [
        functional,
        subclassed,
        sequential,
        compiled_sequential,
        two_inputs,
        lambda: actor_critic((3,), 2),
        lambda: nature_cnn((36, 36, 1), units=3),
    ],
)
def test_a_copy_computes_the_same_and_stands_still(make):
    network = make()
    x = np.ones([2, 36, 36, 1], "f4") if network.name == "nature_cnn" else X
    if make is two_inputs:
        x = {"a": X, "b": X}
    randomise(network)
    copy = frozen_copy(network)
    for a, b in zip(tf.nest.flatten(copy(x)), tf.nest.flatten(network(x)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert copy.trainable_weights == []
    assert not copy.trainable
    assert not copy.compiled
    assert network.trainable
    assert network.trainable_weights
    before = copy.get_weights()
    randomise(network)
    for now, then, other in zip(
        copy.get_weights(), before, network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(now, then)
        assert not np.array_equal(now, other)


def randomise(network):
    rng = np.random.default_rng()
    for weight in network.weights:
        weight.assign(rng.normal(size=weight.shape) ** 2)


def test_batch_statistics_are_copied_and_then_kept():
    network = subclassed()
    network(10.0 * X + 5.0, training=True)
    copy = frozen_copy(network)
    np.testing.assert_array_equal(copy.norm.moving_mean, network.norm.moving_mean)
    assert np.any(copy.norm.moving_mean.numpy() != 0.0)
    before = copy.get_weights()
    copy(X, training=True)
    for now, then in zip(copy.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_noise_of_a_copy_is_its_own_and_reproducible():
    def network():
        return keras.Sequential(
            [keras.Input([3]), NoisyDense(4, seed=1), DuelingHead(2, noisy=True)]
        )

    online = network()
    online.layers[1].value_layers[0].noise_state.assign([2, 0])
    online(X, training=True)
    copy, again = frozen_copy(online), frozen_copy(online)
    np.testing.assert_array_equal(copy(X), online(X))
    first, second = copy.layers[0].noise_state, online.layers[0].noise_state
    assert first[0] != second[0]
    np.testing.assert_array_equal(first, again.layers[0].noise_state)
    nested = copy.layers[1].value_layers[0].noise_state
    assert nested[0] not in (2, int(first[0]))
    assert int(first[1]) == 0
    assert not np.array_equal(copy(X, training=True), online(X, training=True))
    assert frozen_copy(copy).layers[0].noise_state[0] != first[0]


def test_networks_that_cannot_be_copied():
    with pytest.raises(ValueError, match=r"built `keras.Model`.*Received: Subclassed"):
        frozen_copy(Subclassed())
    with pytest.raises(ValueError, match=r"built `keras.Model`.*Received: Dense"):
        frozen_copy(layers.Dense(2))
    for network in (WithoutConfig(layers.Dense(2)), ForgetsItsSize(7)):
        network(X)
        with pytest.raises(ValueError, match="its configuration can rebuild"):
            frozen_copy(network)


@pytest.mark.parametrize("tau", [0.25, 1.0, np.float32(0.25), "tensor"])
def test_update_by_hand(compiled, tau):
    """1 + tau (3 - 1), running statistics too, noise states never."""
    online, target = (
        keras.Sequential([keras.Input([3]), NoisyDense(2), layers.BatchNormalization()])
        for _ in range(2)
    )
    for network, value in ((online, 3.0), (target, 1.0)):
        for weight in network.weights:
            if weight.name != "noise_state":
                weight.assign(tf.fill(weight.shape, value))
    noise = target.layers[0].noise_state.numpy()
    tau = tf.constant(0.25) if isinstance(tau, str) else tau
    compiled(lambda: update_target(target, online, tau))()
    assert len(target.weights) == 9
    for weight in target.weights:
        wanted = noise if weight.name == "noise_state" else 1.0 + 2.0 * float(tau)
        np.testing.assert_array_equal(weight, np.broadcast_to(wanted, weight.shape))
    for weight in online.weights:
        if weight.name != "noise_state":
            np.testing.assert_array_equal(weight, np.full(weight.shape, 3.0))


def test_a_rate_of_one_copies_every_bit(compiled):
    online, target = sequential(), sequential()
    kernel = np.float32([[1e-20, 3.0], [1e20, -1e-3], [0.1, 1.0 / 3.0]])
    online.weights[0].assign(kernel)
    target.weights[0].assign(np.float32([[1e20, np.nan], [1.0, np.inf], [1e3, 1e-3]]))
    compiled(lambda: update_target(target, online, 1))()
    np.testing.assert_array_equal(target.weights[0], kernel)


def test_update_in_a_compiled_loop():
    online, target = sequential(), sequential()
    for weight in online.weights:
        weight.assign(tf.ones(weight.shape))
    for weight in target.weights:
        weight.assign(tf.zeros(weight.shape))

    @tf.function(jit_compile=True)
    def run():
        def body(i):
            update_target(target, online, 0.1)
            return (i + 1,)

        return tf.while_loop(lambda i: i < 10, body, (0,))

    run()
    for weight in target.weights:
        np.testing.assert_allclose(weight, np.full(weight.shape, 1 - 0.9**10), 1e-5)


def test_equal_networks_stay_equal():
    online = functional()
    target = frozen_copy(online)
    before = target.get_weights()
    for _ in range(20):
        update_target(target, online, 0.3)
    for now, then in zip(target.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_bad_input():
    for tau in (0.0, 1.1, -0.1, float("nan"), "slow"):
        with pytest.raises(ValueError, match="`tau`"):
            update_target(sequential(), sequential(), tau)
    wider = keras.Sequential([keras.Input([3]), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        update_target(sequential(), wider, 0.5)
