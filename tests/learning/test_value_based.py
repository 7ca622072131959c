"""Every member of the DQN family finds known values, and wrong ones do not.

`Chain-5` and `Endless-1` have values in closed form (systems.md 0.2). The controls make
one classic mistake each and must fail the same checks.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import DQN, Rainbow
from kerasrl2.buffers import ReplayBuffer
from kerasrl2.zoo.build import tuned_agent

pytestmark = pytest.mark.learning

LEFT, RIGHT = [0.6561, 0.6561, 0.729, 0.81], [0.729, 0.81, 0.9, 1.0]
OPTIMAL = np.stack([LEFT, RIGHT], axis=1)
MEMBERS = {
    "dqn": (DQN, {}),
    "double": (DQN, {"double": True}),
    "dueling": (DQN, {"dueling": True}),
    "noisy": (DQN, {"noisy": True}),
    "prioritized": (DQN, {"prioritized": True}),
    "c51": (DQN, {"distribution": "categorical"}),
    "qr": (DQN, {"distribution": "quantile", "num_atoms": 20}),
    "iqn": (DQN, {"distribution": "implicit_quantile", "num_atoms": 8}),
    "rainbow": (Rainbow, {"n_step": 1}),
}


def train(agent_class, env_id, steps, env=None, **hyperparameters):
    settings = {"hidden": (32,), "gamma": 0.9, "buffer_size": 4000, "num_envs": 8}
    settings |= {"learning_starts": 200, "batch_size": 32, "learning_rate": 3e-3}
    settings |= {"target_update_interval": 50, "exploration": "epsilon_greedy"}
    settings |= {"final_epsilon": 1.0, "seed": 0}
    agent = agent_class.for_env(env_id, **{**settings, **hyperparameters})
    agent.fit(env or env_id, steps=steps, epochs=1, verbose=0)
    return agent


def chain_values(agent_class=DQN, steps=40_000, **hyperparameters):
    env = envs.make("Chain-5", num_envs=8, uniform_start=True)
    hyperparameters = {"value_range": (0.0, 2.0), **hyperparameters}
    agent = train(agent_class, "Chain-5", steps, env, **hyperparameters)
    return agent.forward(tf.eye(5)[:4]).parameters.numpy()


def endless_value(agent_class=DQN, steps=60_000, **hyperparameters):
    rate = keras.optimizers.schedules.PolynomialDecay(5e-3, steps // 8, 1e-5)
    hyperparameters = {
        "value_range": (0.0, 20.0),
        "learning_rate": rate,
        **hyperparameters,
    }
    agent = train(agent_class, "Endless-1", steps, **hyperparameters)
    return agent.forward(tf.ones([1, 1])).parameters.numpy()


@pytest.mark.parametrize("name", MEMBERS)
def test_chain(name):
    agent_class, hyperparameters = MEMBERS[name]
    np.testing.assert_allclose(
        chain_values(agent_class, **hyperparameters), OPTIMAL, atol=0.02
    )


@pytest.mark.parametrize("name", MEMBERS)
def test_endless(name):
    agent_class, hyperparameters = MEMBERS[name]
    np.testing.assert_allclose(
        endless_value(agent_class, **hyperparameters), 10.0, atol=0.1
    )


def test_n_step_returns_of_the_greedy_policy():
    """With other behaviour n-step targets are biased: see the page on them."""
    values = chain_values(n_step=3, final_epsilon=0.0, initial_epsilon=0.0)
    np.testing.assert_allclose(values.max(axis=1), RIGHT, atol=0.02)


def test_munchausen():
    """Against its own fixed point, by iteration: it is not that of Q-learning."""
    scale, temperature = 0.9, 0.03
    q = np.zeros([5, 2])
    for _ in range(2000):
        below = q - q.max(axis=1, keepdims=True)
        normalizer = np.log(np.exp(below / temperature).sum(axis=1, keepdims=True))
        scaled = below - temperature * normalizer  # tau ln pi
        policy = np.exp(scaled / temperature)
        soft = (policy * (q - scaled)).sum(axis=1)
        for state in range(4):
            for action in (0, 1):
                after = max(state - 1, 0) if action == 0 else state + 1
                reward, discount = (1.0, 0.0) if after == 4 else (0.0, 0.9)
                bonus = scale * np.clip(scaled[state, action], -1.0, 0.0)
                q[state, action] = reward + bonus + discount * soft[after]
    values = chain_values(munchausen=scale, temperature=temperature)
    np.testing.assert_allclose(values, q[:4], atol=0.02)


class CutAsEnd(ReplayBuffer):
    """Takes a time limit for a terminal state."""

    def add(self, *, terminated, truncated, **step):
        ended = terminated | truncated
        return super().add(terminated=ended, truncated=truncated, **step)


class OthersRewards(DQN):
    """Trains towards other samples' targets: what a `[B, B]` broadcast does."""

    def targets(self, batch, seeds=(None, None)):
        return tf.roll(super().targets(batch, seeds), 1, axis=0)


class ShuffledActions(DQN):
    """Learns about actions that were not taken."""

    def compute_loss(self, batch, seed):
        return super().compute_loss(batch._replace(action=1 - batch.action), seed)


def test_a_time_limit_taken_for_an_end_is_seen():
    """One target in ten is 1, the others 1 + 0.9 Q: on average Q = 1 / (1 - 0.81)."""
    value = endless_value(buffer=CutAsEnd(4000, gamma=0.9), loss="squared")
    np.testing.assert_allclose(value, 5.263, atol=0.4)


@pytest.mark.parametrize("wrong", [OthersRewards, ShuffledActions])
def test_wrong_targets_are_seen(wrong):
    values = chain_values(wrong, steps=20_000)
    assert np.abs(values - OPTIMAL).max() > 0.1


def cartpole(agent_class=None, seed=0, **hyperparameters):
    """Greedy return on 50 episodes of the first of ten policies that gets 195 there.

    Or the best of those that got it on 20 other episodes; 0 if none did.
    """
    agent, env, steps = tuned_agent(
        "dqn", "CartPole-v0", seed=seed, overrides=hyperparameters
    )
    if agent_class is not None:
        agent.__class__ = agent_class
    returns = []
    for _ in range(10):
        agent.fit(env, steps=steps // 10, epochs=1, verbose=0)
        if agent.evaluate("CartPole-v0", episodes=20)["return"] >= 195.0:
            scores = agent.evaluate("CartPole-v0", episodes=50, seed=1)
            returns.append(scores["return"])
            if returns[-1] >= 195.0:
                break
    return max(returns, default=0.0)


@pytest.mark.parametrize("double", [False, True])
def test_cartpole(double):
    returns = [cartpole(seed=seed, double=double) for seed in range(3)]
    assert sum(value >= 195.0 for value in returns) >= 2, returns


def test_cartpole_with_others_rewards_fails():
    assert cartpole(OthersRewards) < 100.0
