"""Networks with a recurrent cell, over single steps and over whole sequences."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_positive_integer
from kerasrl2._private import layers_of

CELLS = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}


@keras.saving.register_keras_serializable(package="kerasrl2")
class RecurrentNetwork(keras.Model):
    """A network that remembers: an encoder, a recurrent cell, and output layers.

    It keeps no state itself: the state goes in and comes out, float32 whatever the
    cell computes in. Whatever has the methods `initial_state` and `call` with these
    arguments and results can take its place in an agent; `encode`, `cell` and `decode`
    are what makes sequences fast: encoder and output layers see all steps at once, and
    only the cell goes from step to step.

    Args:
        encoder: Built Keras model, observations `[B, ...]` (or a nest) to `[B, F]`.
        cell: Recurrent cell of Keras or in its form, `(x, states)` to `(output,
            states)`, such as `keras.layers.LSTMCell` or `StackedRNNCells`. Each row
            must be computed by itself, and without dropout: acting and learning are of
            one and the same policy.
        decoder: Built Keras model, `[B, U]`, outputs of the cell, to the outputs.
        **kwargs: Base model arguments.

    Call arguments:
        observation: `[B, ...]`, or a nest.
        state: Nest of `[B, ...]` float32, from `initial_state` or the step before;
            None: at the start of an episode.

    Returns:
        Tuple of the outputs of `decoder`, and the next state.

    Example:
    >>> network = RecurrentNetwork(
    ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(8)]),
    ...     keras.layers.GRUCell(5),
    ...     keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]))
    >>> values, state = network(tf.ones([4, 3]), network.initial_state(4))
    >>> values.shape, [leaf.shape for leaf in state]
    (TensorShape([4, 2]), [TensorShape([4, 5])])
    """

    def __init__(self, encoder, cell, decoder, **kwargs):
        super().__init__(**kwargs)
        check_cell(cell)
        self.encoder, self.cell, self.decoder = encoder, cell, decoder
        _build(cell, encoder.output.shape[-1])
        width = output_size(cell)
        if decoder.input.shape[-1] != width:
            raise ValueError(
                f"Expected `decoder` of inputs [B, {width}], the outputs of the cell. "
                f"Received: {decoder.name!r} of {tuple(decoder.input.shape)}"
            )
        self.built = True

    def initial_state(self, batch_size):
        """The state at the start of an episode, zeros unless the cell has another.

        Args:
            batch_size: Integer or scalar tensor, `B`.

        Returns:
            Tuple (of tuples, with a stack of cells) of `[B, ...]` float32.
        """
        return first_state(self.cell, batch_size)

    def call(self, observation, state=None, training=False):
        features = self.encode(observation, training)
        if state is None:
            state = self.initial_state(keras.ops.shape(features)[0])
        output, state = step(self.cell, features, state)
        return (*self.decode(output, training), state)

    def encode(self, observation, training=False):
        """Features `[B, F]`."""
        return self.encoder(observation, training=training)

    def decode(self, output, training=False):
        """Tuple of the outputs, from those of the cell, `[B, U]`."""
        outputs = self.decoder(output, training=training)
        return tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)

    def get_config(self):
        parts = {"encoder": self.encoder, "cell": self.cell, "decoder": self.decoder}
        serialize = keras.saving.serialize_keras_object
        config = {"name": self.name, "trainable": self.trainable}
        config["dtype"] = self.dtype_policy.name
        return {**config, **{key: serialize(part) for key, part in parts.items()}}

    @classmethod
    def from_config(cls, config):
        config, deserialize = dict(config), keras.saving.deserialize_keras_object
        parts = ("encoder", "cell", "decoder")
        return cls(*[deserialize(config.pop(name)) for name in parts], **config)


@keras.saving.register_keras_serializable(package="kerasrl2")
class ParallelCells(keras.layers.Layer):
    """Several recurrent cells side by side, as one cell: each has a share of inputs.

    Args:
        cells: List of `K` recurrent cells.
        **kwargs: Base layer arguments.

    Call arguments:
        inputs: `[B, K F]`, in equal shares.
        states: Tuple of the cells' states.

    Returns:
        `(outputs, states)`: the outputs of all cells, concatenated, and their states.

    Example:
    >>> cell = ParallelCells([keras.layers.GRUCell(4), keras.layers.LSTMCell(3)])
    >>> cell.output_size, cell.state_size
    (7, ((4,), (3, 3)))
    """

    def __init__(self, cells, **kwargs):
        super().__init__(**kwargs)
        for cell in cells:
            check_cell(cell)
        self.cells = list(cells)

    @property
    def state_size(self):
        """Tuple of the sizes of the cells' states."""
        return tuple(_sizes(cell.state_size) for cell in self.cells)

    @property
    def output_size(self):
        """Integer, units of all cells."""
        return sum(output_size(cell) for cell in self.cells)

    def get_initial_state(self, batch_size=None):
        """Tuple of the cells' first states."""
        return tuple(first_state(cell, batch_size) for cell in self.cells)

    def build(self, input_shape):
        share, rest = divmod(input_shape[-1], len(self.cells))
        if rest:
            raise ValueError(
                f"Expected inputs in {len(self.cells)} equal shares. Received: "
                f"{input_shape[-1]} of them"
            )
        for cell in self.cells:
            _build(cell, share)
        self.built = True

    def call(self, inputs, states):
        shares = keras.ops.split(inputs, len(self.cells), axis=-1)
        made = [
            step(cell, share, state)
            for cell, share, state in zip(self.cells, shares, states, strict=True)
        ]
        outputs = [keras.ops.cast(output, self.compute_dtype) for output, _ in made]
        return keras.ops.concatenate(outputs, axis=-1), tuple(state for _, state in made)

    def get_config(self):
        cells = [keras.saving.serialize_keras_object(cell) for cell in self.cells]
        return {**super().get_config(), "cells": cells}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        return cls([deserialize(cell) for cell in config.pop("cells")], **config)


def cell_of(recurrent, units):
    """The cell that a keyword stands for.

    Args:
        recurrent: `"lstm"`, `"gru"`, a cell, or a list of cells, one above the other.
        units: Integer >= 1, of those with a name.
    """
    if isinstance(recurrent, str):
        check_choice("recurrent", recurrent, tuple(CELLS))
        check_positive_integer("recurrent_units", units)
        return CELLS[recurrent](units)
    if isinstance(recurrent, list | tuple) and recurrent:
        return keras.layers.StackedRNNCells([cell_of(part, units) for part in recurrent])
    check_cell(recurrent)
    return copy_of(recurrent)


def copy_of(cell, prefix=None):
    """A new cell of the same configuration, without the weights.

    Args:
        cell: Recurrent cell.
        prefix: String or None, put in front of its name.
    """
    config = cell.get_config()
    if prefix is not None:
        config["name"] = f"{prefix}_{cell.name}"
    return type(cell).from_config(config)


def check_cell(cell):
    """Raises unless `cell` is a recurrent cell without dropout."""
    if not isinstance(cell, keras.layers.Layer) or not hasattr(cell, "state_size"):
        raise ValueError(
            "Expected 'lstm', 'gru' or a recurrent cell of Keras, such as "
            f"`keras.layers.LSTMCell(64)`, or a list of cells. Received: {cell!r:.100}"
        )
    if isinstance(cell, keras.layers.RNN):
        raise ValueError(
            f"Expected a cell, which takes one step. Received: the layer {cell.name!r} "
            f"over sequences. Give its cell: `keras.layers.{type(cell).__name__}Cell`."
        )
    for part in layers_of(cell):
        for name in ("dropout", "recurrent_dropout"):
            if isinstance(getattr(part, name, 0.0), float) and getattr(part, name, 0.0):
                raise ValueError(
                    "Expected a cell without dropout: what learns must be the policy "
                    f"that acted. Received: {part.name!r} with {name}="
                    f"{getattr(part, name)}"
                )


def _build(cell, width):
    if not cell.built:  # as parts of one from a file are
        with keras.name_scope(cell.name):
            cell.build((None, width))
        cell.built = True


def output_size(cell):
    """Integer `U`, units of a cell's output."""
    size = getattr(cell, "output_size", None)
    return int(size if size is not None else tf.nest.flatten(cell.state_size)[0])


def first_state(cell, batch_size):
    """Nest of tuples of `[B, ...]` float32, a cell's state at the start."""
    if hasattr(cell, "get_initial_state"):
        state = _tuples(cell.get_initial_state(batch_size=batch_size))
        state = state if isinstance(state, tuple) else (state,)
    else:
        state = tf.nest.map_structure(
            lambda size: keras.ops.zeros([batch_size, size]), _sizes(cell.state_size)
        )
    return tf.nest.map_structure(lambda leaf: keras.ops.cast(leaf, "float32"), state)


def step(cell, x, state):
    """One step of a cell: `(output [B, U], state)`, the latter float32.

    Args:
        cell: Recurrent cell.
        x: `[B, F]`.
        state: Nest of `[B, ...]`, as of `first_state`.
    """
    return _in_form(state, *cell(x, _lists(state)))


def scan(cell, x, state, resets):
    """A cell over sequences, from a state, which is set back after some of the steps.

    Gradients flow to `x`, to `state` and to the cell's weights, back through time but
    not through a reset. They are not those of a loop over steps with their weights'
    gradients added up: backwards, a loop carries the gradient of the state only; those
    of weights and inputs follow from one call on all steps at once.

    Args:
        cell: Built recurrent cell.
        x: `[T, n, F]`.
        state: Nest of `[n, ...]`, before the first step.
        resets: `[T, n]` bool, whether the state is set back after the step.

    Returns:
        `(outputs, states)`: `[T, n, U]`, and the nest of `[T, n, ...]`, the state after
        each step, before it is set back.

    Example:
    >>> cell = keras.layers.SimpleRNNCell(1, activation=None,
    ...     kernel_initializer="ones", recurrent_initializer="ones")
    >>> cell.build((None, 1))
    >>> x = tf.reshape([1.0, 2.0, 3.0, 4.0, 5.0], [5, 1, 1])
    >>> resets = tf.constant([False, True, False, True, False])[:, None]
    >>> outputs, _ = scan(cell, x, first_state(cell, 1), resets)
    >>> tf.reshape(outputs, [-1]).numpy().tolist()
    [1.0, 3.0, 3.0, 7.0, 5.0]
    """
    first = first_state(cell, resets.shape[1])
    start = tf.nest.flatten(state)
    weights, frozen = (
        [tf.convert_to_tensor(variable.value) for variable in variables]
        for variables in (cell.trainable_variables, cell.non_trainable_variables)
    )

    def apply(weights, x, state):
        """Flat lists of the output and the states after one step."""
        state = tf.nest.pack_sequence_as(first, state)
        (output, after), _ = cell.stateless_call(weights, frozen, x, _lists(state))
        output, after = _in_form(state, output, after)
        return output, tf.nest.flatten(after)

    @tf.custom_gradient
    def scanned(x, *leaves):
        start, weights = leaves[: len(leaves) - count], leaves[len(leaves) - count :]
        outputs, after = _forwards(apply, weights, x, start, tf.nest.flatten(first), resets)
        before = [
            tf.concat([one[None], where_reset(resets, to, leaf)[:-1]], axis=0)
            for one, to, leaf in zip(start, tf.nest.flatten(first), after, strict=True)
        ]

        def gradients(of_outputs, *of_after):
            return _backwards(
                apply, weights, x, before, resets, of_outputs, list(of_after)
            )

        return (outputs, *after), gradients

    count = len(weights)
    outputs, *after = scanned(x, *start, *weights)
    return outputs, tf.nest.pack_sequence_as(first, after)


def where_reset(mask, first, state):
    """`first` in rows where `mask` `[..., N]` is True, else `state`; nests."""

    def select(initial, current):
        more = len(current.shape) - len(mask.shape)
        rows = tf.reshape(mask, [*mask.shape, *[1] * more])
        return tf.where(rows, tf.cast(initial, current.dtype), current)

    return tf.nest.map_structure(select, first, state)


def _forwards(apply, weights, x, start, first, resets):
    """Outputs `[T, n, U]` and the list of states after each step, `[T, n, ...]`."""
    length = resets.shape[0]
    output, after = apply(weights, x[0], start)
    rows = [output, *after]
    arrays = [tf.TensorArray(r.dtype, length, element_shape=r.shape) for r in rows]
    arrays = [a.write(0, row) for a, row in zip(arrays, rows, strict=True)]

    def body(t, state, arrays):
        state = where_reset(resets[t - 1], first, state)
        output, after = apply(weights, x[t], state)
        rows = [output, *after]
        return t + 1, after, [a.write(t, r) for a, r in zip(arrays, rows, strict=True)]

    *_, arrays = tf.while_loop(
        lambda t, *_: t < length, body, (1, after, arrays), parallel_iterations=1
    )
    outputs, *after = [array.stack() for array in arrays]
    return outputs, after


def _backwards(apply, weights, x, before, resets, of_outputs, of_after):
    """Gradients of inputs, start and weights, as a list."""
    length = resets.shape[0]
    arrays = [
        tf.TensorArray(leaf.dtype, length, element_shape=leaf.shape[1:])
        for leaf in of_after
    ]

    def body(t, carried, arrays):
        """`carried` is the gradient of the state after step `t`, from what follows."""
        total = [
            mine[t] + where_reset(resets[t], tf.zeros_like(later), later)
            for mine, later in zip(of_after, carried, strict=True)
        ]
        state = [leaf[t] for leaf in before]
        with tf.GradientTape() as tape:
            tape.watch(state)
            output, after = apply(weights, x[t], state)
        carried = tape.gradient(
            [output, *after], state, [of_outputs[t], *total],
            unconnected_gradients="zero",
        )  # fmt: skip
        arrays = [a.write(t, g) for a, g in zip(arrays, total, strict=True)]
        return t - 1, carried, arrays

    nothing = [tf.zeros_like(leaf[0]) for leaf in before]
    _, of_start, arrays = tf.while_loop(
        lambda t, *_: t >= 0, body, (length - 1, nothing, arrays), parallel_iterations=1
    )
    totals = [_flat(array.stack()) for array in arrays]
    with tf.GradientTape() as tape:
        rows = _flat(x)
        tape.watch([rows, *weights])
        output, after = apply(weights, rows, [_flat(leaf) for leaf in before])
    of_rows, *of_weights = tape.gradient(
        [output, *after], [rows, *weights], [_flat(of_outputs), *totals],
        unconnected_gradients="zero",
    )  # fmt: skip
    return [tf.reshape(of_rows, x.shape), *of_start, *of_weights]


def _flat(tensor):
    """`[T, n, ...]` to `[T * n, ...]`."""
    return tf.reshape(tensor, [tensor.shape[0] * tensor.shape[1], *tensor.shape[2:]])


def _in_form(state, output, after):
    """An output, and the next state in the structure of `state`, float32."""
    leaves = [keras.ops.cast(leaf, "float32") for leaf in tf.nest.flatten(after)]
    return output, tf.nest.pack_sequence_as(state, leaves)


def _lists(state):
    """A nest of tuples as one of lists, in which Keras' cells take their states."""
    if isinstance(state, tuple | list):
        return [_lists(part) for part in state]
    return state


def _tuples(state):
    if isinstance(state, tuple | list):
        return tuple(map(_tuples, state))
    return state


def _sizes(sizes):
    """`state_size` as a tuple (of tuples)."""
    if isinstance(sizes, tuple | list):
        return tuple(s if isinstance(s, int) else _sizes(s) for s in sizes)
    return (sizes,)
