"""Tests of `kerasrl2.agents.A2C`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import A2C
from kerasrl2.distributions import Categorical
from kerasrl2.training.collect import begin_episodes, collect
from kerasrl2.types import OnPolicyBatch, Rollout
from tests.agents.harness import SEED
from tests.agents.test_ppo import ENTROPY


def linear_agent(optimizer, **hyperparameters):
    """Logits `x W` with `W` 2 x 2 and value `x w`."""
    inputs = keras.Input([2])
    logits = keras.layers.Dense(2, use_bias=False)(inputs)
    value = keras.layers.Dense(1, use_bias=False)(inputs)
    network = keras.Model(inputs, [logits, value])
    weights = [[0.0, np.log(3.0)], [0.0, 0.0]], [[0.5], [0.0]]
    network.set_weights([np.array(weight) for weight in weights])
    settings = {"value_coefficient": 0.5, "entropy_coefficient": 0.1}
    return A2C(
        network, Categorical(2), optimizer=optimizer, **settings, **hyperparameters
    )


def one_step(copies=1):
    """Observation (1, 2), action 0, advantage 2, value target 1.5; repeated."""
    repeat = lambda x, dtype=tf.float32: tf.constant([x] * copies, dtype)  # noqa: E731
    return OnPolicyBatch(
        observation=repeat([1.0, 2.0]),
        action=repeat(0, tf.int32),
        log_prob=repeat(-1.0),
        value=repeat(0.5),
        advantage=repeat(2.0),
        target=repeat(1.5),
        valid=repeat(True, tf.bool),
    )


# x = (1, 2): logits (0, log 3), p = (1/4, 3/4), V = 0.5.
# Policy: -A d log p_0 / d logits = -2 (1 - 1/4, -3/4) = (-1.5, 1.5).
# Entropy: -c_h dH / d logits = 0.1 p (log p + H) = 0.1 (-0.2059899, 0.2059899).
# Value: c_v (V - y) = 0.5 (0.5 - 1.5) = -0.5.
# Each times x, row by row: the gradients of W and w.
SLOPE = 1.5 + 0.1 * 0.75 * (np.log(0.75) + ENTROPY)
GRADIENT_W = np.array([[-SLOPE, SLOPE], [-2 * SLOPE, 2 * SLOPE]])
GRADIENT_V = np.array([[-0.5], [-1.0]])


@pytest.mark.parametrize("copies", [1, 4])
def test_one_update_by_hand(compiled, copies):
    """Repeating the batch changes nothing: the loss is a mean, not a sum."""
    agent = linear_agent(keras.optimizers.SGD(0.1), max_gradient_norm=None)
    metrics, td_error = compiled(agent.update)(one_step(copies), SEED)
    assert td_error is None
    w, v = agent.network.get_weights()
    start = [[0.0, np.log(3.0)], [0.0, 0.0]]
    np.testing.assert_allclose(w, start - 0.1 * GRADIENT_W, rtol=1e-5)
    np.testing.assert_allclose(v, [[0.5], [0.0]] - 0.1 * GRADIENT_V, rtol=1e-5)
    expected = {
        "policy_loss": -2.0 * np.log(0.25),
        "value_loss": 0.5,  # half of 1
        "entropy": ENTROPY,
        "loss": -2.0 * np.log(0.25) + 0.25 - 0.1 * ENTROPY,
        "gradient_norm": np.sqrt((GRADIENT_W**2).sum() + (GRADIENT_V**2).sum()),
    }
    assert {k: float(x) for k, x in metrics.items()} == pytest.approx(expected, 1e-5)


@pytest.mark.parametrize(
    ("optimizer", "scale"),
    [  # the size of the first step, in units of the learning rate
        (None, lambda g: g / np.sqrt(0.01 * g**2 + 1e-5)),  # RMSprop, rho 0.99
        (keras.optimizers.Adam(7e-4, epsilon=1e-12), np.sign),
    ],
)
def test_the_first_step_of_each_optimizer(optimizer, scale):
    agent = linear_agent(optimizer, max_gradient_norm=None)
    before = agent.network.get_weights()[1]
    agent.update(one_step(), SEED)
    step = agent.network.get_weights()[1] - before
    np.testing.assert_allclose(step, -7e-4 * scale(GRADIENT_V), rtol=1e-3)


def test_an_advantage_of_zero_and_an_exact_value_move_nothing():
    agent = linear_agent(keras.optimizers.SGD(0.1))
    agent.entropy_coefficient = 0.0
    before = agent.network.get_weights()
    batch = one_step()._replace(advantage=tf.zeros(1), target=tf.constant([0.5]))
    agent.update(batch, SEED)
    for a, b in zip(before, agent.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_one_update_a_rollout():
    agent = A2C.for_env("Chain-5", hidden=(), num_envs=2, seed=0, xla=False)
    agent.fit("Chain-5", steps=70, epochs=1, verbose=0)
    assert int(agent.optimizer.iterations) == 7


class TestAdvantages:
    """`rollout_length` 3, one environment; rewards 1, values 0.5, 0.4, 0.3, 0.2."""

    @staticmethod
    def rollout(truncated=(False, False, False)):
        flags = tf.zeros([3, 1], tf.bool)
        cut = tf.constant(truncated)[:, None]
        return Rollout(None, None, tf.ones([3, 1]), flags, cut, ~flags, None)

    @staticmethod
    def advantages(rollout, following=(0.4, 0.3, 0.2), **hyperparameters):
        agent = linear_agent(None, gamma=0.9, **hyperparameters)
        value = tf.constant([[0.5], [0.4], [0.3]])
        following = tf.constant(following)[:, None]
        return [x.numpy()[:, 0] for x in agent.advantages(rollout, value, following)]

    def test_generalized_advantages(self):
        """Numbers of systems.md 000-15."""
        advantage, target = self.advantages(self.rollout(), lambda_=0.8)
        np.testing.assert_allclose(advantage, [1.942592, 1.5036, 0.88], rtol=1e-5)
        np.testing.assert_allclose(target - advantage, [0.5, 0.4, 0.3], rtol=1e-6)

    def test_truncation_bootstraps_and_cuts(self):
        rollout = self.rollout((False, True, False))
        advantage, _ = self.advantages(rollout, (0.4, 0.25, 0.2), lambda_=0.8)
        np.testing.assert_allclose(advantage, [1.454, 0.825, 0.88], rtol=1e-5)

    def test_lambda_one_is_the_return_to_the_end(self):
        _, target = self.advantages(self.rollout())
        returns = [1 + 0.9 * (1 + 0.9 * 1.18), 1 + 0.9 * 1.18, 1.18]
        np.testing.assert_allclose(target, returns, rtol=1e-6)

    def test_two_steps(self):
        _, target = self.advantages(self.rollout(), n_step=2)
        returns = [1 + 0.9 * (1 + 0.9 * 0.3), 1 + 0.9 * 1.18, 1.18]
        np.testing.assert_allclose(target, returns, rtol=1e-6)


def test_the_successor_of_a_cut_episode_is_bootstrapped_from():
    """`next_observation`, not the first observation of the next episode."""
    env = envs.make("Chain-5", num_envs=1, max_episode_steps=3)
    agent = A2C.for_env(
        env, hidden=(), rollout_length=6, seed=0, lambda_=0.0, xla=False
    )
    agent.network.get_layer("value").kernel.assign(
        np.arange(5, dtype=np.float32)[:, None] + 1.0
    )
    agent.network.get_layer("policy").bias.assign([-50.0, 50.0])  # always right
    _, rollout = collect(agent, env, begin_episodes(agent, env, SEED), 6, SEED)
    assert rollout.truncated.numpy()[:, 0].tolist() == [False, False, True] * 2
    target = agent.prepare(rollout, ())[0].target
    np.testing.assert_allclose(target, 0.99 * np.array([2.0, 3.0, 4.0] * 2), rtol=1e-5)
