"""Averaged gradients: the steps of one process, from shares of each minibatch."""

import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.distributed import Workers
from kerasrl2.distributed.averaging import averaged
from kerasrl2.distributed.shares import moments_of, normalized_by, share_of
from kerasrl2.types import OnPolicyBatch

ENV = "CartPole-v1"


def ppo(**settings):
    known = {"hidden": (8,), "num_envs": 2, "rollout_length": 8, "batch_size": 16}
    known |= {"seed": 3, "num_epochs": 2, "xla": False}
    return krl.agents.PPO.for_env(ENV, **{**known, **settings})


def batch(rows, rng):
    off = rng.normal(size=[5, rows]).astype("float32")
    return OnPolicyBatch(
        observation=rng.normal(size=[rows, 4]).astype("float32"),
        action=rng.integers(0, 2, rows).astype("int32"),
        log_prob=off[0] * 0.1 - 0.7, value=off[1], advantage=3.0 * off[2] + 1.0,
        target=off[3], valid=rng.random(rows) < 0.9,
    )  # fmt: skip


def part(whole, rows):
    fields = whole._asdict().items()
    return whole._replace(**{n: x[rows] for n, x in fields if len(x)})


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.long)])
def test_shares_are_the_whole(workers):
    """10 steps, normalised advantages of unequal shares included, to 1e-6."""
    rng = np.random.default_rng(0)
    one, several = ppo(), ppo()
    seed = tf.constant([0, 1])
    update = tf.function(one.update, autograph=False)
    share = tf.function(several.share_of_gradients, autograph=False)
    for _ in range(10):
        whole = batch(64, rng)
        moments = moments_of(whole.advantage, whole.valid)
        given = []
        for rows in np.split(np.arange(64), workers):
            mine = part(whole, rows)
            found = share(mine, moments, seed)
            flat = tf.concat([tf.reshape(v, [-1]) for v in found.values], 0)
            given.append({
                "count": np.float32(mine.valid.sum()), "loss": found.loss,
                "gradient": flat, "metrics": found.metrics,
            })  # fmt: skip
        given = tf.nest.map_structure(lambda *x: tf.stack(x), *given)
        gradients = averaged(given, several.trainable_variables)
        metrics, _ = update(whole, seed)
        others, _ = several.apply_gradients(gradients)
        for name, value in metrics.items():
            np.testing.assert_allclose(others[name], value, 1e-5, 1e-6, err_msg=name)
        for a, b in zip(one.weights, several.weights, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), 0, 1e-6)


def test_moments_by_hand():
    """What each worker alone would normalise by is another gradient."""
    advantage, valid = np.array([1.0, 3.0, 9.0]), np.array([True, True, False])
    assert moments_of(advantage, valid).numpy().tolist() == [2.0, 4.0, 10.0]
    np.testing.assert_allclose(
        normalized_by(np.array([1.0, 3.0]), tf.constant([2.0, 4.0, 10.0], tf.float64)),
        [-1.0, 1.0],
        1e-6,
    )


@pytest.mark.long
def test_a_run_counts_exactly_and_repeats(local):
    runs = [ppo(normalize_observations=True) for _ in range(2)]
    for agent in runs:
        history = agent.fit(
            ENV, steps=160, epochs=2, verbose=0,
            workers=Workers(2, average_gradients=True),
        ).history  # fmt: skip
        assert history["env_steps"] == [96, 160]
        assert int(agent.optimizer.iterations) == 5 * 2 * 2
    for a, b in zip(*(agent.weights for agent in runs), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_shares_must_be_equal():
    assert share_of(None, 16, 2) == 16
    assert share_of(16, 16, 2) == 8
    with pytest.raises(ValueError, match="the same share"):
        share_of(15, 16, 2)


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (lambda: krl.agents.DQN.for_env(ENV), "a replay buffer"),
        (lambda: ppo(normalize_rewards=True), "normalize_rewards"),
        (lambda: ppo(vtrace=True), "vtrace"),
        (lambda: krl.agents.TRPO.for_env(ENV), "of its own"),
    ],
)
def test_what_cannot_be_averaged(agent, why):
    with pytest.raises(ValueError, match=why):
        agent().fit(ENV, steps=100, workers=Workers(2, average_gradients=True))
