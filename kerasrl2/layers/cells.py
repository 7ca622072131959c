"""Recurrent cells: one step, and what cells have in common."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_positive_integer
from kerasrl2._private import layers_of

CELLS = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}


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
            build_cell(cell, share)
        self.built = True

    def call(self, inputs, states):
        shares = keras.ops.split(inputs, len(self.cells), axis=-1)
        made = [
            step(cell, share, state)
            for cell, share, state in zip(self.cells, shares, states, strict=True)
        ]
        outputs = [keras.ops.cast(output, self.compute_dtype) for output, _ in made]
        return keras.ops.concatenate(outputs, axis=-1), tuple(
            state for _, state in made
        )

    def get_config(self):
        cells = [keras.saving.serialize_keras_object(cell) for cell in self.cells]
        return {**super().get_config(), "cells": cells}

    @classmethod
    def from_config(cls, config):
        """One of the configuration that `get_config` returned."""
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
        return copy_of(CELLS[recurrent](units))
    if isinstance(recurrent, list | tuple) and recurrent:
        return keras.layers.StackedRNNCells(
            [cell_of(part, units) for part in recurrent]
        )
    check_cell(recurrent)
    return copy_of(recurrent)


def copy_of(cell, prefix=None):
    """A new cell of the same configuration, without the weights.

    Args:
        cell: Recurrent cell.
        prefix: String or None, put in front of its name.
    """
    config = cell.get_config()
    if config.get("seed", 0) is None:
        config["seed"] = 0  # of dropout, which there is none of; equal in equal runs
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


def build_cell(cell, width):
    """Gives a cell its weights for inputs `[B, width]`, unless it has them."""
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
    return in_form(state, *cell(x, lists_of(state)))


def in_form(state, output, after):
    """An output, and the next state in the structure of `state`, float32."""
    leaves = [keras.ops.cast(leaf, "float32") for leaf in tf.nest.flatten(after)]
    return output, tf.nest.pack_sequence_as(state, leaves)


def lists_of(state):
    """A nest of tuples as one of lists, in which Keras' cells take their states."""
    if isinstance(state, tuple | list):
        return [lists_of(part) for part in state]
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
