"""Control flow of compiled programs."""

import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext


def in_xla():
    """Whether the graph that is being built will be compiled by XLA."""
    return not tf.executing_eagerly() and GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    )


def run_if(condition, function):
    """Runs `function`, which writes variables and returns nothing, if `condition`.

    A loop of at most one turn. XLA turns a `tf.cond` with branches this cheap into
    running both and selecting, which touches all weights each time.
    """

    def turn(i):
        function()
        return (i + 1,)

    tf.while_loop(lambda i: condition & (i < 1), turn, (0,))
