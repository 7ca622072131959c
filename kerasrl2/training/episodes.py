"""Exact episode statistics inside compiled loops."""

from typing import Any, NamedTuple

import tensorflow as tf


class RunningEpisodes(NamedTuple):
    """Episodes that have not ended yet.

    Attributes:
        returns: `[N]` float32, undiscounted return so far.
        lengths: `[N]` int32, env steps so far.
    """

    returns: Any
    lengths: Any


class EpisodeTotals(NamedTuple):
    """Sums over finished episodes: each counts exactly once, when it ends.

    Attributes:
        count: Scalar float64, finished episodes.
        return_sum: Scalar float64, of their undiscounted returns.
        length_sum: Scalar float64, of their lengths in env steps.
    """

    count: Any
    return_sum: Any
    length_sum: Any


def no_episodes(num_envs):
    """`RunningEpisodes` at the very start."""
    return RunningEpisodes(tf.zeros([num_envs]), tf.zeros([num_envs], tf.int32))


def zero_totals():
    """`EpisodeTotals` of nothing."""
    return EpisodeTotals(*[tf.zeros([], tf.float64) for _ in EpisodeTotals._fields])


def count_episodes(rollout, running):
    """Follows every episode through a rollout.

    Args:
        rollout: `Rollout`, of which `reward`, `terminated`, `truncated` and `valid`
            are read, all `[T, N]`; rows that are not valid are skipped.
        running: `RunningEpisodes` when the rollout began.

    Returns:
        `(RunningEpisodes, EpisodeTotals)`: when the rollout ended, and of the episodes
        that ended in it.
    """
    ended = (rollout.terminated | rollout.truncated) & rollout.valid
    reward = tf.where(rollout.valid, rollout.reward, 0.0)
    length = tf.cast(rollout.valid, tf.int32)
    num_steps = reward.shape[0]

    def step(t, running, totals):
        returns = running.returns + reward[t]
        lengths = running.lengths + length[t]
        done = tf.cast(ended[t], tf.float64)
        totals = EpisodeTotals(
            totals.count + tf.reduce_sum(done),
            totals.return_sum + tf.reduce_sum(done * tf.cast(returns, tf.float64)),
            totals.length_sum + tf.reduce_sum(done * tf.cast(lengths, tf.float64)),
        )
        running = RunningEpisodes(
            tf.where(ended[t], 0.0, returns), tf.where(ended[t], 0, lengths)
        )
        return t + 1, running, totals

    _, running, totals = tf.while_loop(
        lambda t, *_: t < num_steps,
        step,
        (0, running, zero_totals()),
        maximum_iterations=num_steps,
    )
    return running, totals


def mean_return_and_length(totals):
    """`{"return", "episode_length", "episodes"}` as floats; NaN if none ended."""
    count, return_sum, length_sum = (float(total) for total in totals)
    return {
        "return": return_sum / count if count else float("nan"),
        "episode_length": length_sum / count if count else float("nan"),
        "episodes": count,
    }
