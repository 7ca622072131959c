"""Recurrent policies over whole sequences."""

import tensorflow as tf

from kerasrl2.layers.recurrent import RecurrentNetwork
from kerasrl2.layers.sequences import scan, where_reset
from kerasrl2.types import PolicyOutputs


def unroll(agent, observation, policy_state, resets, training=False):
    """The outputs of a policy for sequences of observations, as during a rollout.

    Gradients flow through the policy's state to the first step of a sequence, or to the
    latest reset.

    Args:
        agent: `Agent`: `forward` and `initial_state` are used, or, where no subclass
            changes `forward`, `network`, `normalized` and `outputs_from`.
        observation: `[T, n, ...]` or a nest, `n` sequences.
        policy_state: Nest of `[n, ...]`, before the first step.
        resets: `[T, n]` bool, whether the state is reset after the step.
        training: Boolean, Keras' `training` argument.

    Returns:
        `PolicyOutputs` of `[T, n, ...]`, with the state after each step, before it is
        reset.
    """
    if not reads_network(agent):
        first = agent.initial_state(resets.shape[1])

        def step(observation, state):
            outputs = agent.forward(observation, state, training=training)
            return (outputs.parameters, outputs.value), outputs.policy_state

        outputs, states = _loop(step, observation, policy_state, resets, first)
        return PolicyOutputs(*outputs, states)
    rows = tf.nest.map_structure(flat, observation)
    inputs = tf.nest.map_structure(
        lambda leaf: _unflat(leaf, resets.shape), agent.normalized(rows)
    )
    outputs, states = unroll_network(
        agent.network, inputs, policy_state, resets, training
    )
    outputs = agent.outputs_from([flat(output) for output in outputs], rows)
    return PolicyOutputs(
        _unflat(outputs.parameters, resets.shape),
        _unflat(outputs.value, resets.shape),
        states,
    )


def unroll_network(network, inputs, state, resets, training=False):
    """The outputs of a network with a state for sequences.

    Of a `RecurrentNetwork` the encoder and the output layers see all steps at once.

    Args:
        network: Keras model with `initial_state`.
        inputs: `[T, n, ...]` or a nest, normalised.
        state: Nest of `[n, ...]`, before the first step.
        resets: `[T, n]` bool, whether the state is reset after the step.
        training: Boolean, Keras' `training` argument.

    Returns:
        `(outputs, states)`: list of `[T, n, ...]`, and the nest of `[T, n, ...]`, the
        state after each step, before it is reset.
    """
    if getattr(type(network), "call", None) is not RecurrentNetwork.call:

        def step(inputs, state):
            *outputs, state = network(inputs, state, training=training)
            return outputs, state

        first = network.initial_state(resets.shape[1])
        return _loop(step, inputs, state, resets, first)
    features = network.encode(tf.nest.map_structure(flat, inputs), training)
    outputs, states = scan(network.cell, _unflat(features, resets.shape), state, resets)
    outputs = network.decode(flat(outputs), training)
    return [_unflat(output, resets.shape) for output in outputs], states


def unroll_batch(agent, batch):
    """The outputs of a policy for the sequences of a batch, for the loss.

    Args:
        agent: `Agent`, as `unroll` uses it.
        batch: `OnPolicyBatch` of `[n, T, ...]`.

    Returns:
        `PolicyOutputs` of `[n, T, ...]`, with the state after each step.
    """
    observation, resets = tf.nest.map_structure(
        exchanged, (batch.observation, batch.resets)
    )
    outputs = unroll(agent, observation, batch.policy_state, resets, training=True)
    parts = outputs.parameters, outputs.value, outputs.policy_state
    return PolicyOutputs(*tf.nest.map_structure(exchanged, parts))


def first_states(agent, rollout):
    """The policy's states before the first steps of all `pieces` of a `Rollout`."""
    if not agent.keeps_states:
        return rollout.policy_state
    return tf.nest.map_structure(
        lambda leaf: flat(leaf[:: agent.piece]), rollout.policy_states
    )


def successor_values(agent, rollout):
    """`[T, N]` float32, values of the true successors of a `Rollout`'s steps."""
    outputs = unroll(
        agent, rollout.observation, rollout.policy_state, resets_of(rollout)
    )
    following, state = tf.nest.map_structure(
        flat, (rollout.next_observation, outputs.policy_state)
    )
    return tf.reshape(agent.forward(following, state).value, outputs.value.shape)


def resets_of(rollout):
    """`[T, N]` bool, the steps of a `Rollout` after which the state was reset."""
    return rollout.terminated | rollout.truncated | ~rollout.valid


def reads_network(agent):
    """Whether `forward` is but `outputs_from` what the network says.

    Not if a subclass has another `forward`.
    """
    order = type(agent).__mro__
    if not hasattr(type(agent), "outputs_from"):
        return False
    owner = {
        name: next(i for i, cls in enumerate(order) if name in vars(cls))
        for name in ("forward", "outputs_from")
    }
    own_call = type(agent).call.__module__ == "kerasrl2.agents.agent"
    return own_call and owner["outputs_from"] <= owner["forward"]


def exchanged(tensor):
    """`[T, N, ...]` to `[N, T, ...]`, or back."""
    return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])


def pieces(tensor, length):
    """`[T, N, ...]` to `[T / length * N, length, ...]`: pieces of all environments."""
    count, num_envs = tensor.shape[0] // length, tensor.shape[1]
    tensor = tf.reshape(tensor, [count, length, num_envs, *tensor.shape[2:]])
    tensor = tf.transpose(tensor, [0, 2, 1, *range(3, tensor.shape.rank)])
    return tf.reshape(tensor, [count * num_envs, length, *tensor.shape[3:]])


def flat(tensor):
    """`[T, N, ...]` to `[T * N, ...]`."""
    return tf.reshape(tensor, [tensor.shape[0] * tensor.shape[1], *tensor.shape[2:]])


def _unflat(tensor, shape):
    return tf.reshape(tensor, [*shape[:2], *tensor.shape[1:]])


def _loop(step, inputs, state, resets, first):
    """Outputs and states of `step(inputs, state)` over sequences, stacked."""
    length = resets.shape[0]

    def at(t):
        return tf.nest.map_structure(lambda leaf: leaf[t], inputs)

    made = step(at(0), state)  # also says of which shapes and dtypes outputs are
    leaves = tf.nest.flatten(made)
    arrays = [tf.TensorArray(x.dtype, length, element_shape=x.shape) for x in leaves]
    arrays = [a.write(0, leaf) for a, leaf in zip(arrays, leaves, strict=True)]

    def body(t, state, arrays):
        outputs, state = step(at(t), where_reset(resets[t - 1], first, state))
        leaves = tf.nest.flatten((outputs, state))
        arrays = [a.write(t, leaf) for a, leaf in zip(arrays, leaves, strict=True)]
        return t + 1, state, arrays

    *_, arrays = tf.while_loop(
        lambda t, *_: t < length,
        body,
        (1, made[1], arrays),
        maximum_iterations=length - 1,
        parallel_iterations=1,
    )
    return tf.nest.pack_sequence_as(made, [array.stack() for array in arrays])
