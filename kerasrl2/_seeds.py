"""Seeds: drawn where nobody gave one, and many from one."""

import random


def drawn_seed():
    """An integer in [0, 2**31) that `keras.utils.set_random_seed` makes repeat.

    From Python's generator, as Keras draws the seeds of its own initializers and
    `SeedGenerator`s: it is one of those that `set_random_seed` seeds.
    """
    return random.randrange(2**31)


def seeds_from(seed, *shape):
    """`[*shape, 2]` int32, independent stateless seeds from one.

    Args:
        seed: `[2]` int32.
        *shape: Integers.
    """
    import tensorflow as tf  # here: the command line draws a seed before it loads

    shape = [*shape, 2]
    return tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
