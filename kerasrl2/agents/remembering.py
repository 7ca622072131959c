"""Networks that remember: how agents call them, and checks of them."""

import keras
import tensorflow as tf

from kerasrl2._private import layers_of

PROTOCOL = (
    "one with a method `initial_state(batch_size)`, called as `network(observation, "
    "state, training=...)`, whose last output is the next state"
)


def has_state(network):
    """Whether a network has a state, which goes in and comes out at each call."""
    return callable(getattr(network, "initial_state", None))


def symbolic_state(network):
    """Nest of `keras.KerasTensor` `[None, ...]`, like the states of a network."""
    return tf.nest.map_structure(
        lambda leaf: keras.KerasTensor((None, *leaf.shape[1:]), leaf.dtype.name),
        network.initial_state(1),
    )


def symbolic_step(network, observation, policy_state):
    """`(outputs, after)` of a network, symbolic or not.

    Args:
        network: Keras model.
        observation: Keras tensors `[B, ...]`.
        policy_state: Nest of Keras tensors, `()` for a network without state.

    Returns:
        List of the outputs, and a dictionary with `"policy_state"`, the next state;
        without state it is empty.
    """
    if has_state(network):
        *outputs, state = network(observation, policy_state)
        return outputs, {"policy_state": state}
    outputs = network(observation)
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs], {}


def checked_step(network, observation, state):
    """Outputs of a network that remembers, as a list, without its next state.

    Raises:
        ValueError: What comes last is no state like the one that it was given.
    """
    returned = network(observation, state)
    several = isinstance(returned, list | tuple) and len(returned) > 1
    after = tf.nest.flatten(returned[-1]) if several else []
    before = tf.nest.flatten(state)
    shapes = [
        [
            (tuple(leaf.shape[1:]), keras.backend.standardize_dtype(leaf.dtype))
            for leaf in s
        ]
        for s in (before, after)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"it has `initial_state`, so that its last output must be the next state, "
            f"of {shapes[0]}. It is {shapes[1] or 'no state'}"
        )
    return list(returned[:-1])


def check_recurrence(agent):
    """Raises where a recurrent network would forget from call to call, or never.

    A sequence within one observation, such as a stack of frames, is no memory: a layer
    over it begins anew at each call, as it should.

    Args:
        agent: `Agent`.
    """
    name = type(agent).__name__
    if has_state(agent.network) and not agent.can_remember:
        raise ValueError(
            f"Expected a network without state: {name} cannot learn with one. Received:"
            f" {agent.network.name!r}, which has `initial_state`. Use PPO, A2C or DQN."
        )
    length = getattr(agent, "sequence_length", None)
    if length is not None and not agent.remembers:
        raise ValueError(
            f"Expected `sequence_length` with a recurrent network alone. Received: "
            f"sequence_length={length}, and {agent.network.name!r} without state. Use "
            "`for_env(..., recurrent='lstm')`, or leave it out."
        )
    parts = layers_of(agent.network)
    over_sequences = [part for part in parts if isinstance(part, keras.layers.RNN)]
    for layer in over_sequences:
        if layer.stateful:
            raise _without_state(agent, layer, "keeps its state where episodes end")
    if agent.remembers:
        return
    inside = {id(part) for layer in over_sequences for part in layers_of(layer)}
    for layer in over_sequences:
        shape = (layer.get_build_config() or {}).get("input_shape") or (None, None)
        if shape[1] in (None, 1):
            raise _without_state(agent, layer, "begins anew at each call")
    for part in parts:
        is_cell = hasattr(part, "state_size") and not isinstance(part, keras.layers.RNN)
        if is_cell and id(part) not in inside:
            raise _without_state(agent, part, "has a state that no call returns")


def _without_state(agent, layer, fault):
    return ValueError(
        f"Expected a network that remembers as {PROTOCOL}. Received: a recurrent "
        f"network without state handling: {layer.name!r} of {agent.network.name!r} "
        f"{fault}. Use `for_env(..., recurrent='lstm')`, or "
        "`layers.RecurrentNetwork(encoder, cell, decoder)`."
    )
