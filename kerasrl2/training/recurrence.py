"""Recurrent policies over whole sequences."""

import tensorflow as tf

from kerasrl2.training.collect import where_reset
from kerasrl2.types import PolicyOutputs


def unroll(agent, observation, policy_state, resets, training=False, following=None):
    """The networks' outputs for sequences of observations, as during a rollout.

    Gradients flow through the policy's state to the first step of a sequence.

    Args:
        agent: `Agent`: `forward`, `initial_state` and `head` are used.
        observation: `[T, n, ...]` or a nest, sequences of `n` environments.
        policy_state: Nest of `[n, ...]`, before the first step.
        resets: `[T, n]` bool, whether the state is reset after the step.
        training: Boolean, Keras' `training` argument.
        following: `[T, n, ...]` or a nest, true successors, or None.

    Returns:
        `PolicyOutputs` of `[T, n, ...]`, with the state after the last step. With
        `following` the values are those of the successors.
    """
    length, count = resets.shape
    first = agent.initial_state(count)
    arrays = tuple(
        tf.TensorArray(tf.float32, length, element_shape=shape)
        for shape in ([count, agent.head.num_parameters], [count])
    )

    def at(nest, t):
        return tf.nest.map_structure(lambda leaf: leaf[t], nest)

    def step(t, state, arrays):
        outputs = agent.forward(at(observation, t), state, training=training)
        value = outputs.value
        if following is not None:
            value = agent.forward(at(following, t), outputs.policy_state).value
        state = where_reset(resets[t], first, outputs.policy_state)
        rows = outputs.parameters, value
        arrays = tuple(a.write(t, row) for a, row in zip(arrays, rows, strict=True))
        return t + 1, state, arrays

    _, state, arrays = tf.while_loop(
        lambda t, *_: t < length,
        step,
        (0, policy_state, arrays),
        maximum_iterations=length,
        parallel_iterations=1,
    )
    parameters, value = (array.stack() for array in arrays)
    return PolicyOutputs(parameters, value, state)


def unroll_batch(agent, batch):
    """The networks' outputs for whole environments, for the loss.

    Args:
        agent: `Agent`, as `unroll` uses it.
        batch: `OnPolicyBatch` of `[n, T, ...]`.

    Returns:
        `PolicyOutputs` of `[n, T, ...]`.
    """
    observation, resets = tf.nest.map_structure(
        exchanged, (batch.observation, batch.resets)
    )
    outputs = unroll(agent, observation, batch.policy_state, resets, training=True)
    return outputs._replace(
        parameters=exchanged(outputs.parameters), value=exchanged(outputs.value)
    )


def successor_values(agent, rollout):
    """`[T, N]` float32, values of the true successors of a `Rollout`'s steps."""
    return unroll(
        agent,
        rollout.observation,
        rollout.policy_state,
        resets_of(rollout),
        following=rollout.next_observation,
    ).value


def resets_of(rollout):
    """`[T, N]` bool, the steps of a `Rollout` after which the state was reset."""
    return rollout.terminated | rollout.truncated | ~rollout.valid


def exchanged(tensor):
    """`[T, N, ...]` to `[N, T, ...]`, or back."""
    return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])
