"""Networks whose weights or outputs are not float32."""

import keras
import numpy as np
import pytest

from kerasrl2.agents import A2C, DQN, PPO

SETTINGS = {
    DQN: {"learning_starts": 16},
    A2C: {"num_envs": 2},
    PPO: {"num_envs": 2, "rollout_length": 8, "batch_size": 8, "num_epochs": 2},
}
LONG = pytest.mark.long


@pytest.mark.parametrize(
    "agent_class",
    [kind if kind is DQN else pytest.param(kind, marks=LONG) for kind in SETTINGS],
)
@pytest.mark.parametrize(
    "dtype", ["float64", pytest.param("mixed_bfloat16", marks=LONG)]
)
@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=LONG)])
def test_train_and_stay_as_they_are(agent_class, dtype, xla):
    inputs = keras.Input([4])
    x = keras.layers.Dense(8, dtype=dtype)(inputs)
    outputs = [keras.layers.Dense(2, dtype=dtype)(x)]
    if agent_class is not DQN:
        outputs.append(keras.layers.Dense(1, dtype=dtype)(x))
    agent = agent_class.for_env(
        "CartPole-v1",
        network=keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0]),
        seed=0,
        xla=xla,
        **SETTINGS[agent_class],
    )
    before = agent.network.get_weights()
    history = agent.fit("CartPole-v1", steps=48, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for old, new in zip(before, agent.network.get_weights(), strict=True):
        assert new.dtype == old.dtype
        assert not np.array_equal(old, new)
