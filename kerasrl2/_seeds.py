"""Seeds where nobody gave one."""

import random


def drawn_seed():
    """An integer in [0, 2**31) that `keras.utils.set_random_seed` makes repeat.

    From Python's generator, as Keras draws the seeds of its own initializers and
    `SeedGenerator`s: it is one of those that `set_random_seed` seeds.
    """
    return random.randrange(2**31)
