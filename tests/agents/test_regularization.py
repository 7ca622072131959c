"""Losses of the networks themselves enter the loss, in every agent."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import A2C, DQN, PPO
from kerasrl2.agents.learning import differentiate
from kerasrl2.buffers import ReplayBuffer
from kerasrl2.types import Transition
from tests.agents.harness import SEED
from tests.agents.test_a2c import one_step

L2 = keras.regularizers.L2


def q_network(**regularizers):
    """Row 5 of vectors.md: `Q = [2 s1 + s2 + 1, s1 + s2 + 1]`."""
    layer = keras.layers.Dense(2, **regularizers)
    network = keras.Sequential([keras.Input([2]), layer])
    layer.set_weights([np.float32([[2, 1], [1, 1]]), np.float32([1, 1])])
    return network


def dqn(network, **more):
    settings = {"optimizer": keras.optimizers.SGD(0.0), "buffer": ReplayBuffer(8)}
    settings |= {"batch_size": 2}
    return DQN(network, gamma=0.9, seed=0, xla=False, **{**settings, **more})


def transition():
    return Transition(
        observation=tf.constant([[1.0, 2.0], [3.0, 4.0]]),
        action=tf.constant([0, 1]),
        reward=tf.constant([10.0, 20.0]),
        discount=tf.constant([0.9, 0.9]),
        next_observation=tf.constant([[5.0, 6.0], [7.0, 8.0]]),
        weight=tf.constant([1.0, 1.0]),
    )


class AddsLoss(keras.layers.Layer):
    """Adds the sum of what it sees, which depends on the batch."""

    def call(self, inputs):
        self.add_loss(tf.reduce_sum(inputs))
        return inputs


def added(units=2):
    inputs = keras.Input([2])
    outputs = AddsLoss()(q_network()(inputs))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(
    ("network", "regularization"),
    [
        (lambda: q_network(), None),
        (lambda: q_network(kernel_regularizer=L2(1.0)), 7.0),
        (lambda: q_network(bias_regularizer=L2(3.0)), 6.0),
        # Of the Q-values [5, 4] and [11, 8]; Keras takes the mean over the batch.
        (lambda: q_network(activity_regularizer=keras.regularizers.L1(1.0)), 14.0),
        (added, 28.0),
    ],
)
@pytest.mark.parametrize("double", [False, True])
def test_they_are_added_to_the_loss(network, regularization, double):
    """By hand; 26 without any, and only the pass that is learned from counts."""
    agent = dqn(network(), double=double)
    for _ in range(2):  # nothing is left over from the first
        metrics, td_error = agent.update(transition(), SEED)
    assert td_error.shape == (2,)
    assert float(metrics["loss"]) == pytest.approx(26.0 + (regularization or 0.0))
    assert ("regularization" in metrics) == (regularization is not None)
    assert ("regularization" in agent.report_names) == (regularization is not None)
    if regularization:
        assert float(metrics["regularization"]) == pytest.approx(regularization)


def test_what_an_earlier_call_added_does_not_count():
    network = added()
    network(tf.ones([1, 2]))
    kernel = network.trainable_variables[0]
    for calls in (0, 1, 0):

        def loss():
            if calls:  # noqa: B023
                network(tf.ones([1, 2]))
            return 4.0 * tf.reduce_sum(kernel[0, 0]), {}

        expected = 8.0 + calls * float(tf.reduce_sum(q_network()(tf.ones([1, 2]))))
        gradients = differentiate(loss, network.trainable_variables, [network], "")
        assert float(gradients.loss) == pytest.approx(expected)


def test_in_a_graph_as_well():
    agent = dqn(added())
    update = tf.function(agent.update, autograph=False)
    agent.update(transition(), SEED)
    for _ in range(2):
        assert float(update(transition(), SEED)[0]["loss"]) == pytest.approx(54.0)


def test_the_gradient_is_that_of_the_sum():
    """Two equal agents: L2(100) moves the kernel by 200 times itself more."""
    kernels = []
    for network in (q_network(), q_network(kernel_regularizer=L2(100.0))):
        optimizer = keras.optimizers.SGD(1e-3)
        dqn(network, optimizer=optimizer, max_gradient_norm=None).update(
            transition(), SEED
        )
        kernels.append(network.get_weights()[0])
    before = np.float32([[2, 1], [1, 1]])
    np.testing.assert_allclose(kernels[1], kernels[0] - 0.2 * before, rtol=1e-5)


def actor_critic(shared=False, **regularizers):
    inputs = keras.Input([5])
    heads = [keras.layers.Dense(n, **regularizers)(inputs) for n in (2, 1)]
    return keras.Model(inputs, heads)


@pytest.mark.parametrize("agent_class", [A2C, PPO])
def test_actor_critics(agent_class):
    settings = {"seed": 0, "xla": False}
    network = actor_critic(kernel_regularizer=L2(2.0))
    plain = actor_critic()
    plain.set_weights(network.get_weights())
    losses = [
        agent_class.for_env("Chain-5", network=one, **settings).update(
            one_step()._replace(observation=tf.one_hot([2], 5)), SEED
        )[0]
        for one in (network, plain)
    ]
    expected = 2.0 * sum((w**2).sum() for w in network.get_weights()[::2])
    # The step changed the weights: this is of those before, within its size.
    assert float(losses[0]["regularization"]) == pytest.approx(expected, rel=0.05)
    difference = float(losses[0]["loss"] - losses[1]["loss"])
    assert difference == pytest.approx(float(losses[0]["regularization"]), rel=1e-5)
    assert "regularization" not in losses[1]


@pytest.mark.long
def test_a_run_reports_them():
    network = actor_critic(kernel_regularizer=L2(1e-3))
    agent = A2C.for_env("Chain-5", network=network, num_envs=2, seed=0, xla=False)
    history = agent.fit("Chain-5", steps=20, epochs=1, verbose=0).history
    assert history["regularization"][0] > 0.0
    assert np.isfinite(history["loss"]).all()


def test_a_frozen_layer_has_none():
    network = q_network(kernel_regularizer=L2(1.0))
    whole = keras.Sequential([keras.Input([2]), network, keras.layers.Dense(2)])
    network.trainable = False
    assert "regularization" not in dqn(whole).update(transition(), SEED)[0]
