"""Rollouts of an older policy than the one that learns from them."""

import tensorflow as tf
from keras import ops

from kerasrl2.layers.sequences import where_reset
from kerasrl2.returns import vtrace_targets
from kerasrl2.statistics import masked_mean
from kerasrl2.training.recurrence import resets_of, unroll


def evaluated(agent, rollout):
    """A rollout as the agent's present networks see it, for V-trace.

    Args:
        agent: `ActorCritic`.
        rollout: `Rollout` with the `parameters` of the policy that acted.

    Returns:
        `(rollout, behaviour_log_prob)`: the `Rollout` with `parameters`, `value`,
        `last_policy_state` and `log_ratio` by the present weights, and `[T, N]`
        float32, nats, of its actions under the policy that acted.

    Raises:
        ValueError: The rollout does not say with what parameters it was played.
    """
    if rollout.parameters is None:
        raise ValueError(
            "Expected a rollout with the `parameters` of the policy that played it, "
            "for `vtrace=True`. Received: None. Collect it with `keep='outputs'`."
        )
    length, count = rollout.reward.shape
    if agent.remembers:
        resets = resets_of(rollout)
        outputs = unroll(agent, rollout.observation, rollout.policy_state, resets)
        parameters, value = outputs.parameters, outputs.value
        last_state = where_reset(
            resets[-1],
            agent.initial_state(count),
            tf.nest.map_structure(lambda leaf: leaf[-1], outputs.policy_state),
        )
    else:
        rows = tf.nest.map_structure(
            lambda x: tf.reshape(x, [length * count, *x.shape[2:]]), rollout.observation
        )
        outputs = agent.forward(rows)
        parameters = tf.reshape(outputs.parameters, rollout.parameters.shape)
        value = tf.reshape(outputs.value, [length, count])
        last_state = rollout.last_policy_state
    behaviour_log_prob = agent.head.log_prob(rollout.parameters, rollout.action)
    log_prob = agent.head.log_prob(parameters, rollout.action)
    rollout = rollout._replace(
        parameters=parameters,
        value=value,
        last_policy_state=last_state,
        log_ratio=log_prob - behaviour_log_prob,
    )
    return rollout, behaviour_log_prob


def corrected(agent, log_ratio, *arguments):
    """Advantages and value targets of V-trace, both `[T, N]`.

    Args:
        agent: `ActorCritic`; its `lambda_`, `clip_rho` and `clip_c` are used.
        log_ratio: `[T, N]` float32, nats, of the policy that learns to the one that
            acted.
        *arguments: The first five of `returns.vtrace_targets`.
    """
    log_probs = log_ratio, tf.zeros_like(log_ratio)
    clips = agent.lambda_, agent.clip_rho, agent.clip_c
    found = vtrace_targets(*arguments, *log_probs, *clips)
    return found.policy_advantages, found.targets


def mean_rho(batch, clip_rho):
    """Mean of `min(rho, clip_rho)` of an `OnPolicyBatch`, a scalar: 1 on-policy."""
    ratio = ops.exp(batch.log_prob - batch.behaviour_log_prob)
    return masked_mean(ops.minimum(ratio, clip_rho), batch.valid)
