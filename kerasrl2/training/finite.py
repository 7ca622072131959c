"""Finds NaN and infinity inside compiled loops and names them outside."""

import tensorflow as tf

from kerasrl2.errors import NonFiniteError

_NONE, _OBSERVATION, _REWARD, _LOSS, _GRADIENT = range(5)
_NAMES = {
    _OBSERVATION: "observation",
    _REWARD: "reward",
    _LOSS: "loss",
    _GRADIENT: "gradient",
}


def no_problem():
    """The report `[4]` int64 of a healthy loop: kind, iteration, step, environment."""
    return tf.constant([_NONE, -1, -1, -1], tf.int64)


def is_healthy(problem):
    """Scalar bool, whether nothing has been found yet."""
    return problem[0] == _NONE


def find_in_step(after, iteration, step):
    """Looks for a non-finite observation or reward of one step.

    Args:
        after: `TimeStep` of `N` environments; rows that are not valid are ignored.
        iteration: Scalar integer, of the loop.
        step: Scalar integer, of the iteration.

    Returns:
        `(problem, finite)`: `[4]` int64 report and `[N]` bool, rows without a problem.
    """
    reward, valid = after.reward, after.valid
    num_envs = reward.shape[0]
    kinds = [(_REWARD, tf.math.is_finite(reward))]
    for observation in (after.next_observation, after.observation):
        if observation.dtype.is_floating:
            flat = tf.reshape(tf.math.is_finite(observation), [num_envs, -1])
            kinds.insert(0, (_OBSERVATION, tf.reduce_all(flat, axis=1)))
    problem, finite = no_problem(), tf.ones([num_envs], tf.bool)
    for kind, good in reversed(kinds):
        bad = valid & ~good
        where = [kind, tf.cast(iteration, tf.int64), tf.cast(step, tf.int64)]
        found = tf.stack([*where, tf.argmax(bad)])
        problem = tf.where(tf.reduce_any(bad), found, problem)
        finite &= ~bad
    return problem, finite


def find_in_rollout(rollout, last_observation, iteration):
    """Looks for the first non-finite observation or reward of a `Rollout`.

    Args:
        rollout: `Rollout` of `T` steps of `N` environments.
        last_observation: `[N, ...]`, what would be acted on next.
        iteration: Scalar integer, which rollout of the run this is.

    Returns:
        `[4]` int64 report; see `no_problem`.
    """
    num_envs = rollout.reward.shape[1]
    rows = [(_REWARD, tf.math.is_finite(rollout.reward))]
    if rollout.observation.dtype.is_floating:
        following = tf.concat([rollout.observation[1:], last_observation[None]], 0)
        finite = (
            _finite_rows(rollout.observation)
            & _finite_rows(rollout.next_observation)
            & _finite_rows(following)
        )
        rows.insert(0, (_OBSERVATION, finite))
    problem = no_problem()
    for kind, finite in reversed(rows):
        bad = tf.reshape(~finite & rollout.valid, [-1])
        first = tf.argmax(bad)
        found = tf.stack(
            [kind, tf.cast(iteration, tf.int64), first // num_envs, first % num_envs]
        )
        problem = tf.where(tf.reduce_any(bad), found, problem)
    return problem


def find_in_metrics(metrics, iteration):
    """The same for what `update` returned: its `loss` and `gradient_norm`."""
    problem = no_problem()
    for kind, name in ((_GRADIENT, "gradient_norm"), (_LOSS, "loss")):
        if name in metrics:
            found = tf.stack([kind, tf.cast(iteration, tf.int64), -1, -1])
            problem = tf.where(tf.math.is_finite(metrics[name]), problem, found)
    return problem


def raise_if_found(problem, env, rollout_length):
    """Raises `NonFiniteError` that names what `problem` reports, if anything."""
    kind, iteration, step, index = (int(value) for value in problem)
    if kind == _NONE:
        return
    if kind in (_OBSERVATION, _REWARD):
        steps = iteration * rollout_length + step + 1
        raise NonFiniteError(
            f"Expected finite numbers. Received: a NaN or infinite {_NAMES[kind]} from "
            f"environment {index} of {env.id!r} at its step {steps} (env step "
            f"{steps * env.num_envs} of the run). Nothing was learned from it. Mend "
            f"the environment, or clip what it returns."
        )
    raise NonFiniteError(
        f"Expected finite numbers. Received: a NaN or infinite {_NAMES[kind]} while "
        f"learning from {env.id!r} in iteration {iteration + 1} of the loop (env step "
        f"{(iteration + 1) * rollout_length * env.num_envs}). The step was not "
        f"taken: the weights are the last good ones. Try a smaller "
        f"`learning_rate`, `max_gradient_norm`, or normalisation."
    )


def _finite_rows(observation):
    """`[T, N, ...]` to `[T, N]`: whether the whole observation is finite."""
    axes = list(range(2, observation.shape.rank))
    return tf.reduce_all(tf.math.is_finite(observation), axis=axes)
