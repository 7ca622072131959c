"""Weights by the outputs that depend on them."""

import keras

from kerasrl2 import envs
from kerasrl2.agents import A2C
from kerasrl2.agents.shares import shares_of


def names(variables):
    return {variable.path for variable in variables}


def test_separate_networks_share_nothing():
    agent = A2C.for_env("Pendulum-v1", hidden=(3,))  # with log deviations of their own
    shares = shares_of(agent.network, agent.observation_spec)
    assert not shares.shared
    assert len(shares.actor) == 5
    assert len(shares.critic) == 4
    everything = names(shares.actor) | names(shares.critic)
    assert everything == names(agent.trainable_variables)


def test_a_trunk_is_shared():
    agent = A2C.for_env("CartPole-v1", hidden=(3,), shared_trunk=True)
    shares = shares_of(agent.network, agent.observation_spec)
    assert [len(part) for part in shares] == [2, 2, 2]


def test_a_detached_value_head_and_frozen_layers():
    inputs = keras.Input([4])
    body = keras.layers.Dense(3)(inputs)
    value = keras.layers.Dense(1)(keras.ops.stop_gradient(body))
    network = keras.Model(inputs, [keras.layers.Dense(2)(body), value])
    network.layers[-1].trainable = False
    spec = A2C.for_env(envs.make("CartPole-v1"), network=network).observation_spec
    shares = shares_of(network, spec)
    parts = [len(part) for part in shares]
    frozen = sum(len(layer.weights) for layer in network.layers if not layer.trainable)
    assert sum(parts) == 6 - frozen
    assert parts[2] == 0
