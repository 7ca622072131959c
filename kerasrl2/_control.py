"""Control flow of compiled programs."""

import tensorflow as tf


def run_if(condition, function):
    """Runs `function`, which writes variables and returns nothing, if `condition`.

    A loop of at most one turn. XLA turns a `tf.cond` with branches this cheap into
    running both and selecting, which touches all weights each time.
    """

    def turn(i):
        function()
        return (i + 1,)

    tf.while_loop(lambda i: condition & (i < 1), turn, (0,))
