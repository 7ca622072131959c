"""Shuffling without sorting."""

import kerasrl2._startup  # noqa: F401

import tensorflow as tf

from kerasrl2._checks import check_positive_integer

NUM_ROUNDS = 8
EXACT_BELOW = 65


def random_permutation(n, seed):
    """A pseudo-random permutation of `0 .. n - 1`.

    Up to 64 numbers: the ranks of `n` random numbers, found by counting, so that all
    `n!` permutations are equally likely. Above: a keyed Feistel network, section 3 of
    Luby and Rackoff (1988), https://doi.org/10.1137/0217022, over `a * b >= n` numbers
    with cycle walking, section 3 of Black and Rogaway (2002),
    https://doi.org/10.1007/3-540-45760-7_9: where a number lands outside `0 .. n - 1`,
    it is encrypted again. `a` and `b` lie near `sqrt(n)` with `a * b - n` least, so few
    numbers walk. Every index is computed by itself: nothing is sorted, which is slow in
    XLA on a CPU. One seed gives the same integers in eager, graph and XLA mode. Not all
    `n!` permutations can occur then, and none is a secret. Nothing receives a gradient.

    Args:
        n: Python integer >= 1 and < 2**31.
        seed: `[2]` int, stateless seed.

    Returns:
        `[n]` int32, each of `0 .. n - 1` once.

    Example:
    >>> sorted(random_permutation(5, seed=[0, 1]).numpy().tolist())
    [0, 1, 2, 3, 4]
    """
    check_positive_integer("n", n)
    n = int(n)
    if n >= 2**31:
        raise ValueError(f"Expected `n` < 2**31. Received: n={n}")
    return _ranks(n, seed) if n < EXACT_BELOW else _feistel(n, seed)


def _ranks(n, seed):
    """How many of `n` random numbers are smaller than each, or equal and earlier."""
    x = _bits(n, seed)
    index = tf.range(n)
    tie = (x == x[:, None]) & (index < index[:, None])
    return tf.reduce_sum(tf.cast((x < x[:, None]) | tie, tf.int32), axis=1)


def _feistel(n, seed):
    a, b = _factors(n)
    keys = _bits(NUM_ROUNDS, seed)
    x = tf.cast(tf.range(a * b), tf.uint32)
    high, low = x // b, x % b
    for i in range(0, NUM_ROUNDS, 2):
        high = (high + _mix(low ^ keys[i]) % a) % a
        low = (low + _mix(high ^ keys[i + 1]) % b) % b
    x = tf.cast(high * b + low, tf.int32)
    x, beyond = x[:n], x[n:]  # beyond[i]: where the number n + i walks to
    outside = a * b - n
    if outside == 0:
        return x
    for _ in range(outside.bit_length()):  # each round doubles the steps walked
        beyond = _walk(beyond, beyond, n)
    return _walk(x, beyond, n)


def _walk(x, beyond, n):
    return tf.where(x < n, x, tf.gather(beyond, tf.maximum(x - n, 0)))


def _factors(n):
    """`a <= b` with `a * b >= n` least, `a` not below half of `sqrt(n)`."""
    root = round(n**0.5)
    a = min(range(root, root // 2, -1), key=lambda a: -(-n // a) * a)
    return a, -(-n // a)


def _bits(n, seed):
    """`[n]` random uint32, the same in every run mode (float draws are not)."""
    return tf.random.stateless_uniform([n], seed, None, None, tf.uint32, alg="philox")


def _mix(x):
    """A bijection of 32-bit integers whose every output bit depends on all of `x`.

    The finaliser of MurmurHash3 (Appleby, public domain).
    """
    x ^= tf.bitwise.right_shift(x, tf.constant(16, tf.uint32))
    x *= tf.constant(0x85EBCA6B, tf.uint32)
    x ^= tf.bitwise.right_shift(x, tf.constant(13, tf.uint32))
    x *= tf.constant(0xC2B2AE35, tf.uint32)
    return x ^ tf.bitwise.right_shift(x, tf.constant(16, tf.uint32))
