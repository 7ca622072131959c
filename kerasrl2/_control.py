"""Control flow of compiled programs."""

import tensorflow as tf


def run_if(condition, function, *inputs):
    """Runs `function`, which writes variables and returns nothing, if `condition`.

    A loop of at most one iteration. XLA turns a `tf.cond` with branches this cheap into
    running both and selecting, which reads and writes all weights each time.

    Args:
        condition: Scalar bool.
        function: Callable that takes `inputs`.
        *inputs: Tensors. Operations on them stay in the loop, where XLA fuses them with
            their consumers. Operations on other tensors only are loop-invariant: XLA
            hoists them out of the loop and stores their results.
    """

    def body(i, *inputs):
        function(*inputs)
        # Changed, or XLA would take the inputs for loop-invariant.
        return i + 1, *(tf.zeros_like(value) for value in inputs)

    tf.while_loop(lambda i, *_: condition & (i < 1), body, (0, *inputs))


def call_if(condition, function):
    """`function()` if `condition`, else zeros of its structure (eagerly: None)."""
    if tf.executing_eagerly():
        return function() if condition else None
    traced = tf.function(function, autograph=False).get_concrete_function()

    def zeros():
        return tf.nest.map_structure(
            lambda tensor: tf.zeros(tensor.shape, tensor.dtype),
            traced.structured_outputs,
        )

    return tf.cond(condition, traced, zeros)


def once(function):
    """`function()`, in a loop of one iteration where a graph is being built.

    TensorFlow optimises the bodies of loops less. What is computed in one elsewhere
    gives the same bits only in one.
    """
    if tf.executing_eagerly():
        return function()
    traced = tf.function(function, autograph=False).get_concrete_function()
    zeros = tf.nest.map_structure(
        lambda tensor: tf.zeros(tensor.shape, tensor.dtype), traced.structured_outputs
    )
    return tf.while_loop(
        lambda i, _: i < 1, lambda i, _: (i + 1, traced()), (0, zeros)
    )[1]
