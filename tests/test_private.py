"""Private interfaces of TensorFlow and Keras: without them all is the same."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasrl2 import _private
from kerasrl2._private import (
    PrivateInterfaceError,
    call_concrete,
    call_stablehlo,
    in_xla_context,
    keras_home,
    layers_of,
    takes_captured,
    tells_xla_context,
)
from kerasrl2.layers import NoisyDense, frozen_copy, q_network, seed_noise, seed_weights

FLOAT = tf.TensorSpec([], tf.float32)


# Layers


def gone(monkeypatch):
    monkeypatch.delattr(keras.layers.Layer, "_flatten_layers")


def changed(monkeypatch):
    """Keras' own calls name all arguments; the package's does not any more fit."""
    flatten = keras.layers.Layer._flatten_layers

    def renewed(self, *, include_self, recursive):
        return flatten(self, include_self, recursive)

    monkeypatch.setattr(keras.layers.Layer, "_flatten_layers", renewed)


class Parts(layers.Layer):
    """Layers in attributes of all kinds, two of them the same."""

    def __init__(self):
        super().__init__(name="parts")
        self.number = 3
        self.first = layers.Dense(2, name="first")
        self.several = [layers.Dense(2, name="second"), layers.Dense(2, name="third")]
        self._hidden = {"a": NoisyDense(2, name="fourth"), "b": (self.first,)}
        self.pair = (layers.Dropout(0.5, name="fifth"), 7)
        self.inner = keras.Sequential([layers.Dense(2, name="sixth")], name="inner")

    def build(self, shape):
        del shape

    def call(self, inputs):
        return inputs


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.blocks = [Parts(), layers.Dense(3, name="last")]
        self.blocks.append(layers.Dense(3, name="later"))
        self.norm = layers.BatchNormalization(name="norm")

    def call(self, inputs):
        return self.norm(inputs)


class Grown(keras.Model):
    """Functional, with a layer that is not in its graph."""

    def __init__(self):
        inputs = keras.Input([3])
        super().__init__(inputs, layers.Dense(2)(Parts()(inputs)))
        self.further = layers.Dense(1, name="further")


def nested():
    inputs = keras.Input([4, 3])
    x = layers.TimeDistributed(layers.Dense(2))(inputs)
    x = layers.Bidirectional(layers.LSTM(2))(x)
    x = keras.Sequential([keras.Input([4]), layers.Dense(2), Parts()])(x)
    y = layers.MultiHeadAttention(2, 2)(inputs, inputs)
    y = layers.RNN([layers.GRUCell(2), layers.LSTMCell(3)])(y)
    return keras.Model(inputs, [x, y])


def dueling():
    return q_network([4], 3, hidden=(8,), dueling=True, noisy=True)


def compiled():
    model = keras.Sequential([layers.Dense(2), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.zeros([2, 3]), np.zeros([2, 1]), verbose=0)
    return model


MAKERS = [Parts, Subclassed, Grown, nested, compiled, lambda: layers.Dense(1)]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("break_it", [gone, changed])
def test_all_layers_in_the_same_order(make, break_it, monkeypatch):
    network = make()
    expected = layers_of(network)
    if make is Grown and network.further not in expected:
        pytest.skip("This Keras forgets layers set in a functional model.")
    assert expected[0] is network
    assert len({id(x) for x in expected}) == len(expected)
    if not isinstance(network, Subclassed):  # its `layers` needs it as well
        break_it(monkeypatch)
    else:
        changed(monkeypatch)
    with pytest.raises((AttributeError, TypeError)):
        network._flatten_layers()
    seen = layers_of(network)
    assert [x.path or x.name for x in seen] == [x.path or x.name for x in expected]
    assert all(a is b for a, b in zip(seen, expected, strict=True))


def test_what_is_no_layer_has_none():
    assert layers_of(lambda x: x) == []


@pytest.mark.parametrize("break_it", [gone, changed])
def test_weights_and_noise_from_a_seed_are_the_same(break_it, monkeypatch):
    def values():
        network = dueling()
        seed_weights(network, seed=5)
        copy = frozen_copy(network)
        first = [x.numpy() for x in (*network.weights, *copy.weights)]
        seed_noise(network, [1, 2])
        return [*first, *(x.numpy() for x in network.weights)]

    expected = values()
    break_it(monkeypatch)
    for a, b in zip(values(), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_where_classes_of_keras_are(monkeypatch):
    assert keras_home() == keras.Model.__module__.removesuffix(".models.model")
    monkeypatch.setattr(layers.Layer, "__module__", "keras.core.layers.layer")
    assert keras_home() == "keras.core"
    monkeypatch.setattr(layers.Layer, "__module__", "keras.elsewhere")
    assert keras_home() == "keras.src"


# Concrete functions


def programs():
    """`(function, tensors)` of several signatures."""
    weight = tf.Variable([1.0, 3.0])
    specs = {"b": FLOAT, "a": tf.TensorSpec([2])}, (FLOAT, [FLOAT])

    def structured(x, pair, flag):
        sign = 1.0 if flag else -1.0
        return {"z": weight * x["a"] + pair[0], "y": sign * pair[1][0] / x["b"]}, x["b"]

    def writes(x):
        weight.assign_add(tf.fill([2], x))

    values = [[0.1, 0.2], 0.3, 0.4, 0.5]
    for xla in (False, True):
        for flag in (False, True):
            function = tf.function(structured, autograph=False, jit_compile=xla)
            concrete = function.get_concrete_function(*specs, flag)
            yield concrete, [tf.constant(x) for x in values]
        function = tf.function(writes, [FLOAT], autograph=False, jit_compile=xla)
        yield function.get_concrete_function(), [tf.constant(0.7)]
        function = tf.function(weight.value, [], autograph=False, jit_compile=xla)
        yield function.get_concrete_function(), []


def bits(results):
    return [
        None if x is None else x.numpy().tobytes()
        for result in results
        for x in tf.nest.flatten(result)
    ]


def test_concrete_functions_are_called_the_same(monkeypatch):
    expected = bits(call_concrete(*program) for program in programs())
    again = list(programs())
    monkeypatch.setattr(_private, "_flat_call", lambda function: None)
    assert bits(call_concrete(*program) for program in again) == expected
    assert len(expected) == 16


@pytest.mark.parametrize(
    "method", [None, 3, lambda self, tensors: None, lambda self, *, x, y: None]
)
def test_another_call_is_not_taken_for_the_one_that_is_known(method):
    class Concrete:
        structured_input_signature = ((FLOAT, "word"), {"key": FLOAT})

        def __call__(self, *args, **kwargs):
            return args, kwargs

    if method is not None:
        Concrete._call_flat = method
    function = Concrete()
    assert not takes_captured(function)
    assert call_concrete(function, [1, 2]) == ((1, "word"), {"key": 2})
    with pytest.raises(PrivateInterfaceError, match=r"Expected .* Received: version 2"):
        call_concrete(function, [1, 2], captured=[3])


def test_on_other_variables():
    one, other = tf.Variable(1.0), tf.Variable(10.0)

    def program(x):
        return one.assign_add(x)

    function = tf.function(program, [FLOAT], autograph=False, jit_compile=True)
    function = function.get_concrete_function()
    assert takes_captured(function)
    seen = call_concrete(function, [tf.constant(2.0)], captured=[other.handle])
    assert (float(seen), float(other), float(one)) == (12.0, 12.0, 1.0)
    assert float(call_concrete(function, [tf.constant(2.0)])) == 3.0


# XLA


@pytest.fixture
def no_context(monkeypatch):
    module = "tensorflow.python.ops.control_flow_util"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError):
        _private._ask_tensorflow()


def look(where):
    """What `in_xla_context` says in a loop, in a condition and in a function within."""
    seen = []

    def note(x):
        seen.append(in_xla_context())
        return x

    def body(i, x):
        x = tf.cond(x > 0.0, lambda: note(x), lambda: x)
        return i + 1, note(tf.function(note, autograph=False)(x))

    def program(x):
        return tf.while_loop(lambda i, x: i < 2, body, (0, note(x)))[1]

    if where == "graph":
        with tf.Graph().as_default():
            program(tf.constant(1.0))
    else:
        function = tf.function(program, autograph=False, jit_compile=where == "xla")
        assert float(function(1.0)) == 1.0
    assert len(seen) == 4
    assert len(set(seen)) == 1
    return seen[0]


def test_knows_programs_of_xla():
    assert tells_xla_context()
    assert not in_xla_context()
    assert [look("xla"), look("function"), look("graph")] == [True, False, False]


@pytest.mark.usefixtures("no_context")
def test_knows_them_by_how_conditions_are_built():
    assert tells_xla_context()
    assert not in_xla_context()
    assert [look("xla"), look("function"), look("graph")] == [True, False, False]


@pytest.mark.usefixtures("no_context")
def test_asked_for_the_first_time_within_a_program_of_xla():
    _private._lowering_is_reliable.cache_clear()
    assert look("xla")


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.usefixtures("no_context")
def test_without_any_sign_there_is_no_context(always, monkeypatch):
    monkeypatch.setattr(_private, "_lowers_conditions", lambda: always)
    _private._lowering_is_reliable.cache_clear()
    try:
        assert not tells_xla_context()
        assert not look("xla")
    finally:
        _private._lowering_is_reliable.cache_clear()


ADD = """module {
  func.func public @main(%a: tensor<2xf32>, %b: tensor<f32>)
      -> (tensor<2xf32>, tensor<f32>) {
    %c = stablehlo.add %a, %a : tensor<2xf32>
    return %c, %b : tensor<2xf32>, tensor<f32>
  }
}"""


def broken(*_, **__):
    raise TypeError("unexpected keyword argument 'Tout'")


@pytest.mark.parametrize("how", ["private", "no module", "no function", "other"])
def test_calls_a_program_of_xla(how, monkeypatch):
    name = "tensorflow.compiler.tf2xla.python"
    if how == "no module":
        monkeypatch.setitem(sys.modules, name, None)
    elif how == "no function":
        monkeypatch.delattr(sys.modules[f"{name}.xla"], "call_module")
    elif how == "other":
        monkeypatch.setattr(sys.modules[f"{name}.xla"], "call_module", broken)
    outputs = [tf.TensorSpec([2]), FLOAT]

    @tf.function(jit_compile=True)
    def program(x, y):
        return call_stablehlo([x + 1.0, y], ADD, outputs)

    doubled, same = program(tf.constant([1.0, 2.5]), tf.constant(3.0))
    assert (doubled.numpy().tolist(), float(same)) == ([4.0, 7.0], 3.0)
    graph = program.get_concrete_function(tf.zeros([2]), tf.zeros([])).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("XlaCallModule") == 1
    assert kinds.count("Placeholder") == 2, "of the program, not of the call"
