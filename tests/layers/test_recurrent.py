"""Tests of recurrent networks, cells and sequences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.layers import ParallelCells, RecurrentNetwork, recurrent_actor_critic
from kerasrl2.layers.cells import (
    cell_of,
    first_state,
    output_size,
    step,
)
from kerasrl2.layers.sequences import scan, where_reset
from kerasrl2.training.recurrence import unroll_network
from tests.harness import compiled_in_long_runs, xla_in_long_runs

LONG = pytest.mark.long
T, N, F = 7, 3, 4


def built(cell, width=F):
    cell.build((None, width))
    cell.built = True
    return cell


def stack():
    cells = [keras.layers.LSTMCell(3, seed=1), keras.layers.GRUCell(4, seed=2)]
    return keras.layers.StackedRNNCells(cells)


def parallel():
    cells = [keras.layers.LSTMCell(3, seed=1), keras.layers.LSTMCell(2, seed=2)]
    return ParallelCells(cells)


class Odd(keras.layers.Layer):
    """A cell of the user's own: sizes as one integer, states not in a list."""

    state_size = 5

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 5), name="kernel")

    def call(self, x, states):
        state = states[0] if isinstance(states, list | tuple) else states
        after = 0.5 * state + keras.ops.tanh(x @ self.kernel + state)
        return 2.0 * after, after


CELLS = {
    "lstm": lambda: keras.layers.LSTMCell(5, seed=0),
    "gru": lambda: keras.layers.GRUCell(5, seed=0),
    "simple": lambda: keras.layers.SimpleRNNCell(5, seed=0),
    "stack": stack,
    "parallel": parallel,
    "odd": Odd,
}


def sequences(cell):
    """Inputs, a state in the middle of an episode, and resets."""
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=[T, N, F]), tf.float32)
    state = tf.nest.map_structure(
        lambda leaf: tf.constant(rng.normal(size=leaf.shape), tf.float32),
        first_state(cell, N),
    )
    resets = np.zeros([T, N], bool)
    resets[[0, 3, 4, 6], [1, 1, 2, 0]] = True
    return x, state, tf.constant(resets)


def naive(cell, x, state, resets):
    """A loop in Python."""
    outputs, states = [], []
    first = first_state(cell, N)
    for t in range(T):
        output, after = step(cell, x[t], state)
        outputs.append(output)
        states.append(after)
        state = where_reset(resets[t], first, after)
    states = tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *states)
    return tf.stack(outputs), states


def values_and_slopes(function, cell):
    """Outputs and states, and the gradients of all that they depend on."""
    x, state, resets = sequences(cell)
    leaves = tf.nest.flatten(state)
    weights = [variable.value for variable in cell.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch([x, *leaves])
        state = tf.nest.pack_sequence_as(state, leaves)
        outputs, states = function(cell, x, state, resets)
        states = tf.nest.flatten(states)
        loss = tf.reduce_sum(tf.sin(3.0 * outputs))
        loss += tf.add_n([tf.reduce_sum(tf.cos(2.0 * leaf)) for leaf in states])
    return [outputs, *states], tape.gradient(loss, [x, *leaves, *weights])


@xla_in_long_runs
@pytest.mark.parametrize(
    "name", [n if n in ("lstm", "odd") else pytest.param(n, marks=LONG) for n in CELLS]
)
def test_sequences_are_those_of_a_loop_and_so_are_gradients(compiled, name):
    cell = built(CELLS[name]())
    values, slopes = compiled(lambda: values_and_slopes(scan, cell))()
    expected, expected_slopes = values_and_slopes(naive, cell)
    for own, known in zip(values, expected, strict=True):
        np.testing.assert_allclose(own, known, rtol=1e-5, atol=2e-6)
    assert len(slopes) == 1 + len(expected) - 1 + len(cell.trainable_variables)
    for own, known in zip(slopes, expected_slopes, strict=True):
        scale = np.abs(known).max()  # sums of terms that cancel are as exact as these
        np.testing.assert_allclose(own, known, rtol=1e-4, atol=1e-5 * scale)
        assert scale > 1e-3


def test_a_frozen_cell_gets_no_gradient_and_passes_it_on():
    cell = built(keras.layers.GRUCell(5, seed=0))
    cell.trainable = False
    _, slopes = values_and_slopes(scan, cell)
    _, expected = values_and_slopes(naive, cell)
    assert len(slopes) == 2
    np.testing.assert_allclose(slopes[0], expected[0], rtol=1e-4, atol=1e-5)


def adding():
    """`h = h + x`."""
    ones = {"kernel_initializer": "ones", "recurrent_initializer": "ones"}
    return built(keras.layers.SimpleRNNCell(1, activation=None, **ones), 1)


def test_it_forgets_where_it_is_reset(compiled):
    """`h = (1 - reset) h + x` of x = 1..5; a reset before steps 3 and 5."""
    cell = adding()
    x = tf.reshape(tf.range(1.0, 6.0), [5, 1, 1])
    after = tf.constant([False, True, False, True, False])[:, None]
    outputs, states = compiled(lambda: scan(cell, x, first_state(cell, 1), after))()
    assert tf.reshape(outputs, [-1]).numpy().tolist() == [1, 3, 3, 7, 5]
    assert tf.reshape(states[0], [-1]).numpy().tolist() == [1, 3, 3, 7, 5]
    started = scan(cell, x, (tf.fill([1, 1], 10.0),), after)[0]
    assert tf.reshape(started, [-1]).numpy().tolist() == [11, 13, 3, 7, 5]


def test_no_gradient_passes_a_reset():
    cell, x = adding(), tf.Variable(tf.ones([5, 1, 1]))
    start = tf.zeros([1, 1])
    after = tf.constant([False, True, False, True, False])[:, None]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(start)
        outputs, _ = scan(cell, x, (start,), after)
    by_seen, by_start = tape.jacobian(outputs, [x, start], experimental_use_pfor=False)
    expected = np.zeros([5, 5])
    for begin, end in [(0, 2), (2, 4), (4, 5)]:
        expected[begin:end, begin:end] = np.tri(end - begin)
    np.testing.assert_array_equal(tf.reshape(by_seen, [5, 5]), expected)
    np.testing.assert_array_equal(tf.reshape(by_start, [5]), [1, 1, 0, 0, 0])


@compiled_in_long_runs
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_ten_single_steps_equal_one_call_of_ten(compiled, kind):
    """Also where the first state is not zero, and Keras' own layer says the same."""
    network = recurrent_actor_critic((3,), 4, cell=kind, units=6, hidden=(5,))
    rng = np.random.default_rng(1)
    for weight in network.trainable_weights:
        weight.assign(rng.normal(0.0, 0.7, weight.shape))
    x = tf.constant(rng.normal(size=[10, 2, 3]), tf.float32)
    start = tf.nest.map_structure(
        lambda leaf: tf.constant(rng.normal(size=leaf.shape), tf.float32),
        network.initial_state(2),
    )

    def one_by_one():
        state, rows = start, []
        for t in range(10):
            parameters, value, state = network(x[t], state)
            rows.append((parameters, value))
        return tf.nest.map_structure(lambda *r: tf.stack(r), *rows), state

    def at_once():
        none = tf.zeros([10, 2], tf.bool)
        outputs, states = unroll_network(network, x, start, none)
        return tuple(outputs), tf.nest.map_structure(lambda leaf: leaf[-1], states)

    singles, whole = compiled(one_by_one)(), compiled(at_once)()
    for own, known in zip(*map(tf.nest.flatten, (whole, singles)), strict=True):
        np.testing.assert_allclose(own, known, rtol=1e-5, atol=2e-6)
    assert np.ptp(whole[0][1]) > 0.1


@pytest.mark.parametrize("layer", [keras.layers.LSTM, keras.layers.GRU])
def test_a_cell_says_what_the_layer_of_keras_says(layer):
    layer = layer(5, return_sequences=True, seed=0)
    x, _, resets = sequences(layer.cell)
    expected = layer(tf.transpose(x, [1, 0, 2]))
    outputs, _ = scan(layer.cell, x, first_state(layer.cell, N), tf.zeros_like(resets))
    np.testing.assert_allclose(
        tf.transpose(outputs, [1, 0, 2]), expected, rtol=1e-5, atol=1e-6
    )


def test_the_size_of_a_fast_slow_network():
    """Cells of 25 units, the first on 3 inputs: 2 900 weights and 5 100 each."""
    cells = [built(keras.layers.LSTMCell(25), width) for width in (3, 25, 25, 25)]
    assert [cell.count_params() for cell in cells] == [2_900, 5_100, 5_100, 5_100]
    assert sum(cell.count_params() for cell in cells) == 18_200


def test_shares_of_parallel_cells_do_not_mix():
    """Weights of the value's cell do not touch the policy, and the reverse."""
    network = recurrent_actor_critic((3,), 2, units=4, hidden=(6,))
    x, cell = tf.ones([2, 3]), network.cell
    assert [
        tuple(leaf.shape) for leaf in tf.nest.flatten(network.initial_state(2))
    ] == [(2, 4)] * 4
    parameters, value, _ = network(x)
    for weight in cell.cells[1].trainable_weights:
        weight.assign_add(tf.ones(weight.shape))
    after, changed, _ = network(x)
    np.testing.assert_array_equal(parameters, after)
    assert np.abs(value - changed).max() > 1e-3
    shared = recurrent_actor_critic((3,), 2, units=4, hidden=(6,), shared=True)
    assert len(tf.nest.flatten(shared.initial_state(2))) == 2


def test_the_state_is_float32_whatever_the_cell_computes_in():
    policy = "mixed_bfloat16"
    network = RecurrentNetwork(
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, dtype=policy)]),
        keras.layers.LSTMCell(5, dtype=policy),
        keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, dtype="float32")]),
        dtype=policy,
    )
    values, state = network(tf.ones([2, 3]))
    assert {leaf.dtype for leaf in state} == {tf.float32}
    x, resets = tf.ones([6, 2, 3]), tf.zeros([6, 2], tf.bool)
    with tf.GradientTape() as tape:
        outputs, states = unroll_network(network, x, network.initial_state(2), resets)
    np.testing.assert_allclose(outputs[0][0], values, rtol=1e-2, atol=1e-2)
    assert {leaf.dtype for leaf in states} == {tf.float32}
    gradients = tape.gradient(outputs[0], [w.value for w in network.trainable_weights])
    assert {gradient.dtype for gradient in gradients} == {tf.float32}


@pytest.mark.parametrize(
    "name", [n if n in ("lstm", "odd") else pytest.param(n, marks=LONG) for n in CELLS]
)
def test_a_network_comes_back_from_its_file(name, tmp_path):
    cell = CELLS[name]()
    objects = {"Odd": Odd}
    width = output_size(cell)
    network = RecurrentNetwork(
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)]),
        cell,
        keras.Sequential([keras.Input((width,)), keras.layers.Dense(2)]),
        name="mine",
    )
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", objects)
    x, state = tf.ones([2, 3]), network.initial_state(2)
    for _ in range(2):
        values, after = network(x, state)
        again, same = loaded(x, state)
        np.testing.assert_array_equal(values, again)
        tf.nest.map_structure(np.testing.assert_array_equal, after, same)
        state = after
    assert [w.name for w in loaded.weights] == [w.name for w in network.weights]


def test_cells_by_name_and_copies_of_others():
    assert isinstance(cell_of("lstm", 3), keras.layers.LSTMCell)
    given = built(keras.layers.GRUCell(3))
    made = cell_of(given, 64)
    assert made is not given
    assert not made.built
    assert (made.units, output_size(made)) == (3, 3)
    layers = cell_of(["gru", keras.layers.LSTMCell(7)], 5)
    assert [cell.units for cell in layers.cells] == [5, 7]
    assert output_size(layers) == 7


@pytest.mark.parametrize(
    ("recurrent", "message"),
    [
        ("rnn", "`recurrent` to be one of: lstm, gru. Received: 'rnn'"),
        (64, "Expected 'lstm', 'gru' or a recurrent cell of Keras.*Received: 64"),
        ([], r"Received: \[\]"),
        (keras.layers.Dense(3), "Received: <Dense"),
        (keras.layers.LSTM(3), "which takes one step.*keras.layers.LSTMCell"),
        (keras.layers.LSTMCell(3, dropout=0.1), "without dropout.*dropout=0.1"),
        (keras.layers.GRUCell(3, recurrent_dropout=0.2), "recurrent_dropout=0.2"),
        (
            [keras.layers.GRUCell(3), keras.layers.GRUCell(3, dropout=0.2)],
            "without dropout",
        ),
    ],
)
def test_what_is_no_cell_is_refused(recurrent, message):
    with pytest.raises(ValueError, match=message):
        cell_of(recurrent, 4)


def test_parts_that_do_not_fit_are_refused():
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match=r"inputs \[B, 5\], the outputs of the cell"):
        RecurrentNetwork(encoder, keras.layers.GRUCell(5), decoder)
    with pytest.raises(ValueError, match=r"2 equal shares\. Received: 3 of them"):
        built(ParallelCells([keras.layers.GRUCell(5), keras.layers.GRUCell(5)]), 3)

    class Encoder(keras.Model):
        pass

    with pytest.raises(ValueError, match=r"one of `outputs`.*Encoder 'mine'"):
        RecurrentNetwork(Encoder(name="mine"), keras.layers.GRUCell(6), decoder)
