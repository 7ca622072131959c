"""Boards of cells and sticky actions, shared by the grid games."""

import numpy as np
import tensorflow as tf
from gymnasium import spaces

SIZE = 10  # cells along each side; row 0 is the top, column 0 the left


def board_space(num_planes):
    """The observation space `(10, 10, num_planes)` of zeros and ones, uint8."""
    return spaces.Box(0, 1, (SIZE, SIZE, num_planes), np.uint8)


def stack_planes(*boards):
    """Boards `[N, 10, 10]` bool to an observation `[N, 10, 10, C]` uint8."""
    return tf.cast(tf.stack(boards, axis=-1), tf.uint8)


def cell(row, column):
    """The board `[N, 10, 10]` bool that is True at one cell of each copy.

    Args:
        row: `[N]` int32, or an integer.
        column: `[N]` int32.

    Example:
    >>> board = cell(9, tf.constant([4, 0]))
    >>> tf.where(board).numpy().tolist()
    [[0, 9, 4], [1, 9, 0]]
    """
    index = tf.range(SIZE)
    in_row = index == tf.reshape(row, [-1, 1])  # [N or 1, 10]
    in_column = index == tf.reshape(column, [-1, 1])  # [N, 10]
    return in_row[:, :, None] & in_column[:, None, :]


def shift(board, down=0, right=0):
    """Moves a board by one cell; cells that enter it are False.

    Args:
        board: `[N, 10, 10]` bool.
        down: -1, 0 or 1, rows to move by.
        right: -1, 0 or 1, columns to move by.

    Example:
    >>> board = shift(cell(9, tf.constant([4, 0])), down=-1, right=-1)
    >>> tf.where(board).numpy().tolist()
    [[0, 8, 3]]
    """
    pad = [[0, 0], [max(down, 0), max(-down, 0)], [max(right, 0), max(-right, 0)]]
    board = tf.pad(board, pad)
    top, left = max(-down, 0), max(-right, 0)
    return board[:, top : top + SIZE, left : left + SIZE]


def holds(board):
    """`[N]` bool, whether any cell of a board `[N, ...]` is True."""
    return tf.reduce_any(board, axis=list(range(1, len(board.shape))))


def draw(seed, n):
    """`[n]` int32, uniform over all values and the same in every run mode."""
    return tf.random.stateless_uniform([n], seed, None, None, tf.int32, alg="philox")


def stick(action, previous, probability, seed):
    """The actions that are executed: the previous one with a given probability.

    Sticky actions of Machado et al. (2018), https://arxiv.org/abs/1709.06009.

    Args:
        action: `[N]` integer, what the agent chose.
        previous: `[N]` int32, what was executed in the step before.
        probability: Float in [0, 1], resolved to `2 ** -31`.
        seed: `[2]` int32.

    Returns:
        `[N]` int32.

    Example:
    >>> action, seed = tf.ones([10_000], tf.int32), tf.constant([0, 0])
    >>> stuck = stick(action, tf.zeros_like(action), 0.25, seed) == 0
    >>> round(float(tf.reduce_mean(tf.cast(stuck, tf.float32))), 1)
    0.2
    """
    action = tf.cast(action, tf.int32)
    bits = draw(seed, action.shape[0])
    bits = tf.bitwise.right_shift(bits, 1)  # uniform in [-2 ** 30, 2 ** 30)
    return tf.where(bits < round(probability * 2**31) - 2**30, previous, action)
