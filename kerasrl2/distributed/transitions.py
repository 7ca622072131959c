"""Transitions of n steps within a rollout, as a replay buffer makes them."""

import tensorflow as tf

from kerasrl2.types import Transition


def n_step_transitions(rollout, n_step, gamma):
    """A transition for each step of a rollout, `T N` in all, time-major.

    The rewards of up to `n_step` steps; fewer where an episode or the rollout ends,
    from whose last successor it bootstraps: what a replay buffer gives once it holds
    this rollout and no more.

    Args:
        rollout: `Rollout` with `next_observation`.
        n_step: Integer >= 1.
        gamma: Scalar, discount of a step.

    Returns:
        `Transition` of `T N` rows with weights of 1.

    Example:
    >>> from kerasrl2.types import Rollout
    >>> off = tf.zeros([3, 1], tf.bool)
    >>> x = tf.reshape(tf.range(4.0), [4, 1, 1])
    >>> rollout = Rollout(
    ...     x[:3], off, tf.constant([[1.0], [2.0], [3.0]]), off, off, ~off, x[1:]
    ... )
    >>> [round(float(x), 2) for x in n_step_transitions(rollout, 3, 0.9).reward]
    [5.23, 4.7, 3.0]
    """
    length, count = rollout.reward.shape
    ended = rollout.terminated | rollout.truncated | ~rollout.valid
    gamma = tf.cast(gamma, tf.float32)
    reward = rollout.reward
    discount = tf.fill([length, count], gamma)
    last = tf.tile(tf.range(length)[:, None], [1, count])  # whose successor counts
    going_on = ~ended
    for step in range(1, n_step):
        # In the row of `t`, whether step `t + step` still belongs to it.
        there = going_on & (tf.range(length)[:, None] < length - step)
        following = tf.pad(rollout.reward, [[0, step], [0, 0]])[step:]
        reward += tf.where(there, discount * following, 0.0)
        discount = tf.where(there, discount * gamma, discount)
        last = tf.where(there, last + 1, last)
        going_on = there & ~tf.pad(ended, [[0, step], [0, 0]])[step:]
    column = tf.tile(tf.range(count)[None], [length, 1])
    index = tf.stack([last, column], axis=-1)
    terminated = tf.gather_nd(rollout.terminated, index)
    discount = tf.where(terminated, 0.0, discount)
    following = tf.nest.map_structure(
        lambda leaf: tf.gather_nd(leaf, index), rollout.next_observation
    )

    def rows(leaf):
        return tf.reshape(leaf, [length * count, *leaf.shape[2:]])

    parts = rollout.observation, rollout.action, reward, discount, following
    parts = tf.nest.map_structure(rows, parts)
    return Transition(*parts, tf.ones([length * count]))
