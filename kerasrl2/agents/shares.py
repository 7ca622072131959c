"""Which weights of an actor-critic network are the actor's, the critic's, or both's."""

import weakref
from typing import Any, NamedTuple

import tensorflow as tf

_known = weakref.WeakKeyDictionary()  # networks to what was trainable, and `Shares`


class Shares(NamedTuple):
    """Trainable Keras variables of a network by the outputs that depend on them.

    Attributes:
        actor: List, those that only the parameters of the policy depend on.
        critic: List, those that only the value depends on.
        shared: List, those that both depend on.
    """

    actor: Any
    critic: Any
    shared: Any


def shares_of(network, observation_spec):
    """`Shares` of a network's trainable variables; computes nothing.

    Args:
        network: Keras model from `[B, ...]` to `[parameters, value, ...]`.
        observation_spec: `ObservationSpec`, of the network's observations.
    """
    variables = network.trainable_variables
    values = [variable.value for variable in variables]
    nest = observation_spec.for_network.nest
    found = []

    def trace():
        rows = tf.nest.map_structure(lambda s: tf.zeros([1, *s.shape], s.dtype), nest)
        with tf.GradientTape(persistent=True) as tape:
            outputs = network(rows)
        for output in outputs[:2]:
            found.append([g is not None for g in tape.gradient(output, values)])

    tf.function(trace, autograph=False).get_concrete_function()
    named = list(zip(variables, *found, strict=True))
    return Shares(
        actor=[v for v, by_policy, by_value in named if by_policy and not by_value],
        critic=[v for v, by_policy, by_value in named if by_value and not by_policy],
        shared=[v for v, by_policy, by_value in named if by_policy and by_value],
    )


def known_shares(agent):
    """`Shares` of an agent's network, found once for the same trainable variables."""
    network = agent.network
    trainable = [id(variable) for variable in network.trainable_variables]
    found = _known.get(network)
    if found is None or found[0] != trainable:
        found = trainable, shares_of(network, agent.observation_spec)
        _known[network] = found
    return found[1]
