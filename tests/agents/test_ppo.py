"""Tests of `kerasrl2.agents.PPO`: its loss and its hyperparameters, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import PPO
from kerasrl2.distributions import Categorical
from kerasrl2.types import OnPolicyBatch
from tests.agents.harness import SEED

SCHEDULE = keras.optimizers.schedules.PolynomialDecay(0.4, 2, 0.1)


def table_agent(**hyperparameters):
    """Two states, one-hot; logits (log 1, log 3) in both, values 1 and 2."""
    inputs = keras.Input([2])
    logits = keras.layers.Dense(2, use_bias=False)(inputs)
    value = keras.layers.Dense(1, use_bias=False)(inputs)
    network = keras.Model(inputs, [logits, value])
    weights = [[0.0, np.log(3.0)]] * 2, [[1.0], [2.0]]
    network.set_weights([np.array(weight) for weight in weights])
    settings = {"optimizer": keras.optimizers.SGD(0.1), "max_gradient_norm": None}
    return PPO(network, Categorical(2), xla=False, **{**settings, **hyperparameters})


def make_batch(old_probability=(0.75, 0.25), advantage=(1.0, -3.0), **changes):
    """One step in each state: action 1 (probability 0.75), action 0 (0.25)."""
    arrays = {
        "observation": np.eye(2, dtype=np.float32),
        "action": np.array([1, 0], np.int32),
        "log_prob": np.log(old_probability).astype(np.float32),
        "value": np.array([1.0, 2.0], np.float32),
        "advantage": np.array(advantage, np.float32),
        "target": np.array([2.0, 0.0], np.float32),
        "valid": np.array([True, True]),
    }
    return OnPolicyBatch(
        **{k: tf.constant(v) for k, v in {**arrays, **changes}.items()}
    )


ENTROPY = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))  # of (1/4, 3/4)


@pytest.mark.parametrize(
    ("hyperparameters", "batch", "expected"),
    [
        # Ratio 1: -mean A = 1; value loss (1 + 4) / 4.
        ({"normalize_advantages": False}, {},
         {"policy_loss": 1.0, "value_loss": 1.25, "entropy": ENTROPY, "kl": 0.0,
          "clip_fraction": 0.0, "loss": 1.0 + 0.5 * 1.25}),
        # A = (1, -3) normalised: (1, -1).
        ({}, {}, {"policy_loss": 0.0}),
        ({"value_coefficient": 2.0, "entropy_coefficient": 0.1}, {},
         {"loss": 2 * 1.25 - 0.1 * ENTROPY}),
        # Ratios 1.5 and 1.25, A = 1, 1: the first is cut at 1.2, or at 1.4.
        ({"normalize_advantages": False}, {"old_probability": (0.5, 0.2),
         "advantage": (1, 1)}, {"policy_loss": -1.2, "clip_fraction": 1.0}),
        ({"normalize_advantages": False, "clip_range": 0.4},
         {"old_probability": (0.5, 0.2), "advantage": (1, 1)},
         {"policy_loss": -(1.4 + 1.25) / 2, "clip_fraction": 0.5,
          "kl": (0.5 - np.log(1.5) + 0.25 - np.log(1.25)) / 2}),
        # Values moved by 1 and 2 from the old ones, allowed 0.5: errors 1.5 and 0.5
        # instead of 1 and 2, of which the larger count.
        ({"value_clip": 0.5}, {"value": [0.0, 0.0]},
         {"value_loss": (1.5**2 + 2.0**2) / 4}),
    ],
)  # fmt: skip
def test_loss_by_hand(hyperparameters, batch, expected):
    agent = table_agent(**hyperparameters)
    loss, metrics = agent.compute_loss(make_batch(**batch), SEED)
    metrics = {**metrics, "loss": loss}
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(value, abs=1e-6), name


def test_one_row_is_not_normalised_to_zero():
    batch = tf.nest.map_structure(lambda x: x[:1], make_batch())
    _, metrics = table_agent().compute_loss(batch, SEED)
    assert float(metrics["policy_loss"]) == pytest.approx(-1.0)


def test_clip_schedule_counts_gradient_steps():
    agent = table_agent(clip_range=SCHEDULE, normalize_advantages=False)
    batch = make_batch(old_probability=(0.1, 0.1), advantage=(1.0, 1.0))
    losses = []
    for step in range(3):
        agent.optimizer.iterations.assign(step)
        losses.append(float(agent.compute_loss(batch, SEED)[1]["policy_loss"]))
    np.testing.assert_allclose(losses, [-1.4, -1.25, -1.1], rtol=1e-6)


def test_learning_rate_schedule_is_live():
    agent = table_agent(optimizer=keras.optimizers.SGD(SCHEDULE))
    moves = []
    for _ in range(3):
        agent.network.set_weights(table_agent().network.get_weights())
        agent.update(make_batch(), SEED)
        moves.append(agent.network.get_weights()[1][0, 0] - 1.0)
    # Slope of the value loss in state 0: 0.5 * (1 - 2) / 2 = -0.25.
    np.testing.assert_allclose(moves, [0.1, 0.0625, 0.025], rtol=1e-5)


@pytest.mark.parametrize("limit", [0.1, 1e9, None])
def test_gradients_are_clipped_by_their_global_norm(limit):
    agent = table_agent(max_gradient_norm=limit)
    before = agent.network.get_weights()
    metrics, _ = agent.update(make_batch(), SEED)
    moved = [a - b for a, b in zip(agent.network.get_weights(), before, strict=True)]
    norm = np.sqrt(sum((move**2).sum() for move in moved)) / 0.1
    full = float(metrics["gradient_norm"])
    assert full > 0.5
    assert norm == pytest.approx(min(limit or np.inf, full), rel=1e-4)


def test_a_tiny_target_kl_ends_the_epochs():
    def updates(target_kl):
        hyperparameters = {
            "hidden": (4,),
            "rollout_length": 4,
            "num_envs": 2,
            "num_epochs": 4,
        }
        agent = PPO.for_env(
            "Chain-5", batch_size=4, learning_rate=0.05, target_kl=target_kl,
            normalize_rewards=True, seed=0, xla=False, **hyperparameters,
        )  # fmt: skip
        agent.fit("Chain-5", steps=24, epochs=1, verbose=0)
        return int(agent.optimizer.iterations)

    assert updates(1e3) == 3 * 4 * 2
    assert 3 * 2 <= updates(1e-12) < 3 * 4  # each rollout's first update has KL 0


@keras.saving.register_keras_serializable(package="tests")
class Diary(PPO):
    """Writes the batch and the metrics of each update down."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.log_probs = tf.Variable(tf.zeros([16, 8]), trainable=False)
        self.metrics_log = tf.Variable(tf.zeros([16, 3]), trainable=False)

    def update(self, batch, seed):
        row = [[tf.cast(self.optimizer.iterations, tf.int32)]]
        self.log_probs.scatter_nd_update(row, batch.log_prob[None])
        metrics, none = super().update(batch, seed)
        names = ("kl", "clip_fraction", "policy_loss")
        values = tf.stack([metrics[name] for name in names])
        self.metrics_log.scatter_nd_update(row, values[None])
        return metrics, none


@pytest.fixture(scope="module")
def diary():
    """10 epochs over one rollout of 8 steps, as one batch."""
    env = envs.make("Chain-5", num_envs=2, uniform_start=True)
    agent = Diary.for_env(
        env, hidden=(4,), rollout_length=4, batch_size=None, num_epochs=10, seed=0,
        learning_rate=0.05, xla=False,
    )  # fmt: skip
    agent.fit(env, steps=8, epochs=1, verbose=0)
    return agent


def test_the_first_epoch_is_at_the_old_policy(diary):
    kl, clip_fraction, policy_loss = diary.metrics_log.numpy()[0]
    assert (kl, clip_fraction) == (0.0, 0.0)
    assert policy_loss == pytest.approx(0.0, abs=1e-6)  # minus the mean advantage
    assert diary.metrics_log.numpy()[9, 0] > 1e-5  # and moves away from it


def test_old_log_probabilities_stay_to_the_bit(diary):
    """They belong to the policy that acted: near log 1/2, whatever is learned."""
    log_probs = diary.log_probs.numpy()[:10]
    np.testing.assert_array_equal(log_probs, log_probs[:1].repeat(10, axis=0))
    np.testing.assert_allclose(log_probs[0], np.log(0.5), atol=0.03)
