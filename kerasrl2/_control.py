"""Control flow of compiled programs."""

import tensorflow as tf


def run_if(condition, function, *inputs):
    """Runs `function`, which writes variables and returns nothing, if `condition`.

    A loop of at most one turn. XLA turns a `tf.cond` with branches this cheap into
    running both and selecting, which touches all weights each time.

    Args:
        condition: Scalar bool.
        function: Callable that takes `inputs`.
        *inputs: Tensors. What is computed from them stays within the loop, where it is
            fused with what uses it; what is computed from other tensors only, XLA moves
            in front of the loop and keeps in memory of its own.
    """

    def turn(i, *inputs):
        function(*inputs)
        return i + 1, *(tf.zeros_like(value) for value in inputs)  # others each turn

    tf.while_loop(lambda i, *_: condition & (i < 1), turn, (0, *inputs))


def call_if(condition, function):
    """`function()` if `condition`; else zeros in its place (None, outside a graph)."""
    if tf.executing_eagerly():
        return function() if condition else None
    traced = tf.function(function, autograph=False).get_concrete_function()

    def zeros():
        return tf.nest.map_structure(
            lambda tensor: tf.zeros(tensor.shape, tensor.dtype),
            traced.structured_outputs,
        )

    return tf.cond(condition, traced, zeros)
