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


def zero_totals():
    """Totals of no episodes.

    Totals are `[3]` float64: the number of finished episodes, the sum of their
    undiscounted returns, and the sum of their lengths in env steps. An episode is
    counted once, when it ends.
    """
    return tf.zeros([3], tf.float64)


def count_step(running, reward, ended, valid):
    """Updates episode statistics with one step.

    Args:
        running: `RunningEpisodes` before the step.
        reward: `[N]` float32.
        ended: `[N]` bool, terminated or truncated.
        valid: `[N]` bool; other rows are skipped.

    Returns:
        `(RunningEpisodes, totals)`: after the step, and of episodes ended by it.
    """
    returns = running.returns + tf.where(valid, reward, 0.0)
    lengths = running.lengths + tf.cast(valid, tf.int32)
    ended &= valid
    finished = tf.cast(ended, tf.float64)
    values = [tf.ones_like(returns), returns, tf.cast(lengths, tf.float32)]
    totals = tf.reduce_sum(finished * tf.cast(tf.stack(values), tf.float64), axis=1)
    running = RunningEpisodes(
        tf.where(ended, 0.0, returns), tf.where(ended, 0, lengths)
    )
    return running, totals


def count_episodes(rollout, running):
    """Updates episode statistics with a rollout.

    Args:
        rollout: `Rollout`; its `reward`, `terminated`, `truncated` and `valid` are
            used, all `[T, N]`. Rows that are not valid are skipped.
        running: `RunningEpisodes` before the rollout.

    Returns:
        `(RunningEpisodes, totals)`: after the rollout, and of episodes ended in it.
    """
    ended = rollout.terminated | rollout.truncated
    num_steps = ended.shape[0]
    if num_steps == 1:
        return count_step(running, rollout.reward[0], ended[0], rollout.valid[0])

    def step(t, running, totals):
        running, new = count_step(
            running, rollout.reward[t], ended[t], rollout.valid[t]
        )
        return t + 1, running, totals + new

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
