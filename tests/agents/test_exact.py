"""Agents find the values and policies that are known in closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import A2C, PPO
from tests.training.worlds import Bandit

COMMON = {"hidden": (), "gamma": 0.9, "seed": 0, "xla": False}
LONG = pytest.mark.long  # what they share is tried with PPO
SETTINGS = {PPO: {"batch_size": None, "num_epochs": 10}, A2C: {}}


def cut_as_end(agent_class):
    """The agent that takes a time limit for a terminal state: the control."""

    class Wrong(agent_class):
        def advantages(self, rollout, value, next_value):
            ended = rollout.terminated | rollout.truncated
            rollout = rollout._replace(terminated=ended)
            return super().advantages(rollout, value, next_value)

    return Wrong


def value_of_endless(agent_class, hyperparameters):
    optimizer = keras.optimizers.SGD(0.2)
    agent = agent_class.for_env(
        "Endless-1", lambda_=0.0, rollout_length=10, num_envs=2, optimizer=optimizer,
        max_gradient_norm=None, **COMMON, **hyperparameters,
    )  # fmt: skip
    steps = 2000 if "num_epochs" in hyperparameters else 8000
    agent.fit("Endless-1", steps=steps, epochs=1, verbose=0)
    return float(agent.forward(tf.ones([1, 1])).value[0])


@pytest.mark.parametrize("agent_class", [PPO, pytest.param(A2C, marks=LONG)])
def test_truncation_bootstraps(agent_class):
    """The value of `Endless-1` is 1 / (1 - 0.9) = 10."""
    value = value_of_endless(agent_class, SETTINGS[agent_class])
    assert value == pytest.approx(10.0, abs=0.1)


@pytest.mark.long
@pytest.mark.parametrize("agent_class", [PPO, pytest.param(A2C, marks=LONG)])
def test_the_check_above_sees_the_error_it_is_for(agent_class):
    """One target in ten is 1, the others 1 + 0.9 V: V = 1 / (1 - 0.81)."""
    value = value_of_endless(cut_as_end(agent_class), SETTINGS[agent_class])
    assert value == pytest.approx(5.263, abs=0.1)


@pytest.mark.long
@pytest.mark.parametrize(
    ("agent_class", "learning_rate", "steps"),
    [(PPO, 0.02, 20_000), pytest.param(A2C, 0.01, 60_000, marks=LONG)],
)
def test_chain(agent_class, learning_rate, steps):
    env = envs.make("Chain-5", num_envs=16, uniform_start=True)
    agent = agent_class.for_env(
        env, rollout_length=8, learning_rate=learning_rate, max_gradient_norm=None,
        normalize_advantages=True, **COMMON, **SETTINGS[agent_class],
    )  # fmt: skip
    agent.fit(env, steps=steps, epochs=1, verbose=0)
    states = np.eye(5, dtype=np.float32)[:4]
    assert agent.predict(states).tolist() == [1, 1, 1, 1]
    value = agent.forward(tf.constant(states)).value
    np.testing.assert_allclose(value, [0.729, 0.81, 0.9, 1.0], atol=0.05)
    assert agent.evaluate("Chain-5", 3)["episode_length"] == 4.0


@pytest.mark.parametrize("agent_class", [PPO, pytest.param(A2C, marks=LONG)])
def test_bandit(agent_class):
    env = Bandit(8)
    agent = agent_class.for_env(
        env, rollout_length=8, learning_rate=0.05, **COMMON, **SETTINGS[agent_class]
    )
    agent.fit(env, steps=2000 if agent_class is PPO else 8000, epochs=1, verbose=0)
    probability = tf.nn.softmax(agent.forward(tf.ones([1, 1])).parameters)
    assert float(probability[0, 1]) > 0.95
