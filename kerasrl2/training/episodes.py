"""Exact episode statistics inside compiled loops."""

from typing import Any, NamedTuple

import tensorflow as tf


class RunningEpisodes(NamedTuple):
    """Episodes in progress.

    Attributes:
        returns: `[N]` float32, undiscounted return so far.
        lengths: `[N]` int32, env steps so far.
    """

    returns: Any
    lengths: Any


def no_episodes(num_envs):
    """`RunningEpisodes` before the first step."""
    return RunningEpisodes(tf.zeros([num_envs]), tf.zeros([num_envs], tf.int32))


class EndedEpisodes(NamedTuple):
    """Episodes that ended in an iteration, each where its last step is.

    Attributes:
        returns: `[T, N]` float32, undiscounted returns; 0 where no episode ended.
        lengths: `[T, N]` int32, their env steps; 0 where no episode ended.
    """

    returns: Any
    lengths: Any


def none_ended(num_steps, num_envs):
    """`EndedEpisodes` without any."""
    shape = [num_steps, num_envs]
    return EndedEpisodes(tf.zeros(shape), tf.zeros(shape, tf.int32))


def ended_episodes(rollout, running):
    """`EndedEpisodes` of a rollout; arguments as of `count_episodes`."""
    done = (rollout.terminated | rollout.truncated) & rollout.valid
    num_steps, num_envs = done.shape
    arrays = [
        tf.TensorArray(dtype, num_steps, element_shape=[num_envs])
        for dtype in (tf.float32, tf.int32)
    ]

    def step(t, returns, lengths, arrays):
        returns += tf.where(rollout.valid[t], rollout.reward[t], 0.0)
        lengths += tf.cast(rollout.valid[t], tf.int32)
        totals = returns, lengths
        zeros = tf.nest.map_structure(tf.zeros_like, totals)
        rows = [
            tf.where(done[t], x, zero) for x, zero in zip(totals, zeros, strict=True)
        ]
        going_on = [
            tf.where(done[t], zero, x) for x, zero in zip(totals, zeros, strict=True)
        ]
        arrays = [a.write(t, row) for a, row in zip(arrays, rows, strict=True)]
        return t + 1, *going_on, arrays

    *_, arrays = tf.while_loop(
        lambda t, *_: t < num_steps,
        step,
        (0, running.returns, running.lengths, arrays),
        maximum_iterations=num_steps,
    )
    return EndedEpisodes(*(array.stack() for array in arrays))


def in_order(ended):
    """Pairs of return and length, in the order in which the episodes ended.

    Those that ended at the same step are in the order of their environments.

    Args:
        ended: `EndedEpisodes`.

    Returns:
        List of pairs of a float and an integer.
    """
    returns, lengths = (part.numpy().ravel().tolist() for part in ended)
    pairs = zip(returns, lengths, strict=True)
    return [(total, length) for total, length in pairs if length]


def zero_totals():
    """Totals of no episodes.

    Totals are `[3]` float64: the number of finished episodes, the sum of their
    undiscounted returns, and the sum of their lengths in env steps. An episode is
    counted once, when it ends.
    """
    return tf.zeros([3], tf.float64)


def count_episodes(rollout, running):
    """Updates episode statistics with a rollout.

    Args:
        rollout: `Rollout`; its `reward`, `terminated`, `truncated` and `valid` are
            used, all `[T, N]`. Rows that are not valid are skipped.
        running: `RunningEpisodes` before the rollout.

    Returns:
        `(RunningEpisodes, totals)`: after the rollout, and of episodes ended in it.
    """
    ended = (rollout.terminated | rollout.truncated) & rollout.valid
    num_steps = ended.shape[0]

    def step(t, running, totals):
        valid, done = rollout.valid[t], ended[t]
        returns = running.returns + tf.where(valid, rollout.reward[t], 0.0)
        lengths = running.lengths + tf.cast(valid, tf.int32)
        values = [tf.ones_like(returns), returns, tf.cast(lengths, tf.float32)]
        new = tf.cast(done, tf.float64) * tf.cast(tf.stack(values), tf.float64)
        running = RunningEpisodes(
            tf.where(done, 0.0, returns), tf.where(done, 0, lengths)
        )
        return t + 1, running, totals + tf.reduce_sum(new, axis=1)

    if num_steps == 1:
        return step(0, running, zero_totals())[1:]
    return tf.while_loop(
        lambda t, *_: t < num_steps,
        step,
        (0, running, zero_totals()),
        maximum_iterations=num_steps,
    )[1:]


def mean_return_and_length(totals):
    """`{"return", "episode_length", "episodes"}` as floats; NaN if none ended."""
    count, return_sum, length_sum = (float(total) for total in totals)
    return {
        "return": return_sum / count if count else float("nan"),
        "episode_length": length_sum / count if count else float("nan"),
        "episodes": count,
    }
