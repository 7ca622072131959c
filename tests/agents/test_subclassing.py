"""Overriding one method changes just that."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import A2C, PPO

SETTINGS = {"hidden": (4,), "rollout_length": 4, "num_envs": 2, "seed": 0, "xla": False}


def train(agent_class, compiled=False, **more):
    """Trains, eagerly unless asked: runs this short do not pay for tracing."""
    tf.config.run_functions_eagerly(not compiled)
    try:
        agent = agent_class.for_env("CartPole-v1", **SETTINGS, **more)
        history = agent.fit("CartPole-v1", steps=32, epochs=2, verbose=0).history
    finally:
        tf.config.run_functions_eagerly(False)
    return agent, history


def same(one, other):
    pairs = zip(one.network.get_weights(), other.network.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def plain():
    return train(A2C)


class OwnLoss(A2C):
    """Does not fit the value."""

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        return loss - self.value_coefficient * metrics["value_loss"], metrics


class OwnUpdate(A2C):
    """Clips every weight after the step."""

    metric_names = (*A2C.metric_names, "largest")

    def update(self, batch, seed):
        metrics, none = super().update(batch, seed)
        for weight in self.trainable_variables:
            weight.assign(tf.clip_by_value(weight, -0.1, 0.1))
        largest = [tf.reduce_max(tf.abs(w)) for w in self.trainable_variables]
        return {**metrics, "largest": tf.reduce_max(tf.stack(largest))}, none


class OwnGreedy(A2C):
    """Always plays 1 when asked what to do; explores as before."""

    def greedy(self, outputs):
        return tf.ones_like(super().greedy(outputs))


class OwnExploration(A2C):
    """Explores with action 0 only."""

    def choose(self, outputs, seed, env_steps):
        return tf.zeros([outputs.parameters.shape[0]], tf.int32)


class OwnTargets(A2C):
    """Monte-Carlo targets of 7."""

    def advantages(self, rollout, value, next_value):
        target = tf.fill(value.shape, 7.0)
        return target - value, target


class OwnKnob(PPO):
    """A keyword of its own, passed on like the others."""

    def __init__(self, *args, bonus=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.bonus = bonus

    def scale_reward(self, rollout, running):
        rollout = rollout._replace(reward=rollout.reward + self.bonus)
        return super().scale_reward(rollout, running)


def test_compute_loss(plain):
    agent, history = train(OwnLoss)
    critic = agent.network.get_layer("value").get_weights()
    fresh = OwnLoss.for_env("CartPole-v1", **SETTINGS).network.get_layer("value")
    for a, b in zip(critic, fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # nothing moved the critic
    assert history["env_steps"] == plain[1]["env_steps"]
    assert history["loss"] != plain[1]["loss"]


def test_update(plain):
    agent, history = train(OwnUpdate, compiled=True)
    assert max(np.abs(w).max() for w in agent.network.get_weights()) <= 0.1 + 1e-7
    assert history["largest"][-1] == pytest.approx(0.1)
    assert set(history) == {*plain[1], "largest"}


def test_greedy(plain):
    agent, history = train(OwnGreedy)
    assert same(agent, plain[0])  # learning has not noticed
    assert history["loss"] == plain[1]["loss"]
    observation = np.zeros([3, 4], np.float32)
    np.testing.assert_array_equal(agent.predict(observation), [1, 1, 1])
    assert 8 <= agent.evaluate("CartPole-v1", 3)["return"] <= 11  # falls over at once


def test_choose(plain):
    agent, _ = train(OwnExploration)
    assert not same(agent, plain[0])
    assert agent.act(np.zeros(4)).shape == ()


def test_advantages(plain):
    agent, history = train(OwnTargets)
    assert not same(agent, plain[0])
    assert history["value_loss"][0] == pytest.approx(0.5 * 49, rel=0.3)
    assert np.isnan(history["explained_variance"]).all()  # the targets do not vary


def test_network(plain):
    inputs = keras.Input([4])
    network = keras.Model(
        inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(1)(inputs)]
    )
    agent, history = train(A2C, network=network)
    assert agent.network is network
    assert set(history) == set(plain[1])
    assert history["env_steps"] == plain[1]["env_steps"]


@pytest.mark.long
def test_a_keyword_of_its_own(tmp_path):
    more = {"batch_size": 8, "num_epochs": 1}
    agent, _ = train(OwnKnob, bonus=3.0, gamma=0.5, **more)
    other, _ = train(OwnKnob, gamma=0.5, **more)
    assert not same(agent, other)
    config = agent.get_config()
    assert (config["bonus"], config["gamma"]) == (3.0, 0.5)
    assert type(agent).from_config(config).bonus == 3.0
    with pytest.raises(ValueError, match=r"'bonnus'. Did you mean 'bonus'"):
        OwnKnob.for_env("CartPole-v1", bonnus=1.0)


class Curious(A2C):
    """Looks at numbers within its loss."""

    seen = ()

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        self.seen = (*self.seen, float(loss))
        return loss, metrics


def test_run_eagerly_lets_one_look_inside():
    """As `tf.config.run_functions_eagerly` promises: for `print` and the debugger."""
    agent, history = train(Curious)
    assert len(agent.seen) == 4
    assert history["loss"] == pytest.approx(
        [sum(agent.seen[:2]) / 2, sum(agent.seen[2:]) / 2]
    )
