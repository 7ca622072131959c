"""Recurrent cells over whole sequences, and gradients through them."""

import tensorflow as tf

from kerasrl2.layers.cells import first_state, in_form, lists_of


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
    >>> import keras
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
        (output, after), _ = cell.stateless_call(weights, frozen, x, lists_of(state))
        output, after = in_form(state, output, after)
        return output, tf.nest.flatten(after)

    @tf.custom_gradient
    def scanned(x, *leaves):
        start, weights = leaves[: len(leaves) - count], leaves[len(leaves) - count :]
        outputs, after = _forwards(
            apply, weights, x, start, tf.nest.flatten(first), resets
        )
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
