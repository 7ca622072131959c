"""Two logical devices of one machine: the step of one. In a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kerasrl2 as krl

SCRIPT = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
import kerasrl2 as krl
from tests.distributed.test_averaging import batch, ppo

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2

x, w = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.Variable(1.0)

@tf.function
def gradient():
    def share():
        row = tf.gather(x, tf.distribute.get_replica_context().replica_id_in_sync_group)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((w * row) ** 2)
        return tape.gradient(loss, w)
    return strategy.reduce("MEAN", strategy.run(share), axis=None)

assert float(gradient()) == 15.0  # 002-13, 000-07

rng, seed = np.random.default_rng(0), tf.constant([0, 1])
one, two = ppo(), ppo()
single = tf.function(one.update, autograph=False)
mirrored = krl.distributed.mirrored_update(two, strategy)
for _ in range(5):
    rows = tf.nest.map_structure(tf.constant, batch(64, rng))
    wanted, _ = single(rows, seed)
    found = mirrored(rows, seed)
    np.testing.assert_allclose(found["loss"], wanted["loss"], 1e-5)
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), 0, 1e-6)
print("equal")
"""


@pytest.mark.long
def test_the_step_of_two_devices_is_that_of_one():
    root = str(Path(krl.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=200,
        env={**os.environ, "PYTHONPATH": root}, cwd=root,
    )  # fmt: skip
    assert result.stdout.strip() == "equal", result.stderr[-2000:]


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (lambda: krl.agents.PPO.for_env("CartPole-v1"), "xla=False"),
        (lambda: krl.agents.DQN.for_env("CartPole-v1", xla=False), "one gradient"),
    ],
)
def test_what_it_cannot_carry(agent, why):
    with pytest.raises(ValueError, match=why):
        krl.distributed.mirrored_update(agent(), None)
