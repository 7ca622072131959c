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


def no_episodes(num_envs):
    """`RunningEpisodes` at the very start."""
    return RunningEpisodes(tf.zeros([num_envs]), tf.zeros([num_envs], tf.int32))


def zero_totals():
    """Totals of nothing.

    Totals are `[3]` float64: finished episodes, the sum of their undiscounted returns,
    and the sum of their lengths in env steps. Each counts exactly once, when it ends.
    """
    return tf.zeros([3], tf.float64)


def count_step(running, reward, ended, valid):
    """Follows every episode through one step.

    Args:
        running: `RunningEpisodes` before the step.
        reward: `[N]` float32.
        ended: `[N]` bool, terminated or truncated.
        valid: `[N]` bool; rows that are not are skipped.

    Returns:
        `(RunningEpisodes, totals)`: after the step, and of what ended with it.
    """
    returns = running.returns + tf.where(valid, reward, 0.0)
    lengths = running.lengths + tf.cast(valid, tf.int32)
    ended &= valid
    done = tf.cast(ended, tf.float64)
    values = [tf.ones_like(returns), returns, tf.cast(lengths, tf.float32)]
    totals = tf.reduce_sum(done * tf.cast(tf.stack(values), tf.float64), axis=1)
    running = RunningEpisodes(
        tf.where(ended, 0.0, returns), tf.where(ended, 0, lengths)
    )
    return running, totals


def count_episodes(rollout, running):
    """Follows every episode through a rollout.

    Args:
        rollout: `Rollout`, of which `reward`, `terminated`, `truncated` and `valid`
            are read, all `[T, N]`; rows that are not valid are skipped.
        running: `RunningEpisodes` when the rollout began.

    Returns:
        `(RunningEpisodes, totals)`: when the rollout ended, and of the episodes
        that ended in it.
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
