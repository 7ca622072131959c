"""Tests of the KL penalty of `kerasrl2.agents.PPO`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import PPO
from tests.agents.harness import SEED
from tests.agents.test_ppo import make_batch, table_agent
from tests.harness import compiled_in_long_runs
from tests.training.test_resume import assert_same, interrupted, uninterrupted

OLD = {"parameters": np.log([[0.5, 0.5], [0.5, 0.5]]).astype("f4")}
KL = -np.log(2.0) - 0.5 * (np.log(0.25) + np.log(0.75))  # of (1/2, 1/2) from (1/4, 3/4)
PLAIN = {"normalize_advantages": False, "value_coefficient": 0.0}
QUICK = {"hidden": (4,), "num_envs": 2, "rollout_length": 16, "batch_size": 8,
         "num_epochs": 2, "seed": 0, "xla": False}  # fmt: skip


@pytest.mark.parametrize(
    ("clip_range", "surrogate", "clip_fraction"),
    # Ratios 3/2 and 1/2 of advantages 1 and -3.
    [(None, -(1.5 - 1.5) / 2, 0.0), (0.2, -(1.2 - 0.8 * 3) / 2, 1.0)],
)
def test_loss_by_hand(clip_range, surrogate, clip_fraction):
    agent = table_agent(clip_range=clip_range, kl_coefficient=2.0, **PLAIN)
    batch = make_batch(old_probability=(0.5, 0.5), **OLD)
    loss, metrics = agent.compute_loss(batch, SEED)
    assert float(metrics["kl"]) == pytest.approx(KL, rel=1e-5)
    assert float(metrics["policy_loss"]) == pytest.approx(surrogate, abs=1e-6)
    assert float(metrics["clip_fraction"]) == clip_fraction
    assert float(loss) == pytest.approx(surrogate + 2.0 * KL, rel=1e-5)


def test_gradient_by_hand():
    """Of `beta KL(old || new)` by the logits: `beta (p_new - p_old)`, mean of two."""
    agent = table_agent(clip_range=None, kl_coefficient=2.0, **PLAIN)
    batch = make_batch((0.5, 0.5), (0.0, 0.0), **OLD)
    gradient = agent.compute_gradients(batch, SEED).values[0]
    np.testing.assert_allclose(gradient, [[-0.25, 0.25]] * 2, rtol=1e-5)


def test_no_slope_at_the_old_policy():
    """The first minibatch is that of PPO without a penalty."""
    parameters = np.log([[0.25, 0.75]] * 2).astype("f4")
    batch = make_batch(parameters=parameters)
    plain = table_agent().compute_gradients(batch, SEED)
    other = table_agent(kl_coefficient=5.0).compute_gradients(batch, SEED)
    for expected, found in zip(plain.values, other.values, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


@compiled_in_long_runs
@pytest.mark.parametrize(
    ("rate", "target", "factor"),
    [(0.0, 0.01, 1 / 1.5), (50.0, 0.01, 1.5), (50.0, None, 1.0)],
)
def test_the_coefficient_follows_the_divergence(compiled, rate, target, factor):
    agent = table_agent(
        optimizer=keras.optimizers.SGD(rate), kl_coefficient=3.0,
        adaptive_kl_target=target, num_epochs=1, batch_size=None,
    )  # fmt: skip
    parameters = np.log([[0.25, 0.75]] * 2).astype("f4")
    sums, updates = compiled(agent.learn_from)(make_batch(parameters=parameters), SEED)
    assert float(updates) == 1.0
    assert float(sums["kl_beta"]) == float(agent.kl_beta.value)
    assert float(agent.kl_beta.value) == pytest.approx(3.0 * factor)
    exact = agent.head.kl(parameters, agent.forward(tf.eye(2)).parameters)
    assert float(sums["rollout_kl"]) == pytest.approx(np.mean(exact), abs=1e-7)
    assert agent.kl_coefficient == 3.0


def test_nan_changes_no_coefficient():
    agent = table_agent(kl_coefficient=3.0, adaptive_kl_target=0.01, num_epochs=1,
                        batch_size=None)  # fmt: skip
    batch = make_batch(advantage=(np.nan, 1.0), parameters=OLD["parameters"])
    agent.learn_from(batch, SEED)
    assert not agent.guard.is_healthy()
    assert float(agent.kl_beta.value) == 3.0


@pytest.mark.long
def test_a_run_reports_saves_and_takes_another_coefficient(tmp_path):
    more = {"kl_coefficient": 1.0, "adaptive_kl_target": 0.01, "clip_range": None}
    agent = PPO.for_env("CartPole-v1", **QUICK, **more)
    history = agent.fit("CartPole-v1", steps=64, epochs=2, verbose=0).history
    beta = float(agent.kl_beta.value)
    assert history["kl_beta"][-1] == pytest.approx(beta)
    assert beta != 1.0
    assert history["kl"][0] >= 0.0
    assert np.isfinite(history["rollout_kl"]).all()
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    assert float(loaded.kl_beta.value) == beta
    assert loaded.kl_coefficient == 1.0
    assert loaded.clip_range is None
    agent.kl_coefficient = 7.0
    assert float(agent.kl_beta.value) == 7.0
    assert "kl_beta" not in table_agent().report_names


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`kl_coefficient`.*adaptive_kl_target=0.01"):
        table_agent(adaptive_kl_target=0.01)
    with pytest.raises(ValueError, match="`kl_coefficient` in"):
        table_agent(kl_coefficient=-1.0)
    with pytest.raises(ValueError, match="`adaptive_kl_target` in"):
        table_agent(kl_coefficient=1.0, adaptive_kl_target=0.0)
    with pytest.raises(ValueError, match="`adaptive_kl_tolerance` in"):
        table_agent(kl_coefficient=1.0, adaptive_kl_tolerance=1.0)
    agent = table_agent()
    with pytest.raises(ValueError, match=r"from the beginning.*made without"):
        agent.kl_coefficient = 1.0
    assert agent.kl_coefficient is None


@pytest.mark.long
def test_it_goes_on_bit_for_bit(tmp_path):
    """The adapted coefficient is part of a checkpoint."""
    settings = {"kl_coefficient": 1.0, "adaptive_kl_target": 0.001, "xla": False}
    whole = uninterrupted("ppo", "CartPole-v1", 1024, **settings)
    resumed, again = interrupted(
        "ppo", "CartPole-v1", tmp_path, 1024, 600, every=100, **settings
    )
    assert_same(whole, resumed, again)
    assert float(resumed.kl_beta.value) != 1.0


@pytest.mark.long
@pytest.mark.parametrize("xla", [True, False])
@pytest.mark.parametrize("distribution", ["gaussian", "squashed_gaussian", "beta",
                                          "gsde"])  # fmt: skip
def test_every_continuous_head(distribution, xla):
    settings = {**QUICK, "xla": xla, "normalize_observations": True}
    agent = PPO.for_env("Pendulum-v1", distribution=distribution, kl_coefficient=1.0,
                        adaptive_kl_target=0.01, **settings)  # fmt: skip
    history = agent.fit("Pendulum-v1", steps=128, epochs=1, verbose=0).history
    assert 0.0 < history["rollout_kl"][0] < 1.0
