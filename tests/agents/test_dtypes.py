"""Networks whose weights or outputs are not float32."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.agents import A2C, DQN, PPO, TRPO

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


@pytest.fixture
def double():
    """All that is made without a dtype is float64; `float32` again afterwards."""
    policy = keras.config.dtype_policy()  # one that was set counts more than floatx
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(policy)


@LONG
@pytest.mark.parametrize(
    ("agent_class", "xla"), [(A2C, False), (DQN, False), (PPO, False), (DQN, True)]
)
def test_default_networks_under_floatx_float64(double, agent_class, xla):
    """Hidden layers are float64 then, heads float32: gradients have two dtypes."""
    agent = agent_class.for_env(
        "CartPole-v1", hidden=(8,), seed=0, xla=xla, **SETTINGS[agent_class]
    )
    before = agent.network.get_weights()
    assert {weight.dtype.name for weight in before} == {"float32", "float64"}
    history = agent.fit("CartPole-v1", steps=32, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for old, new in zip(before, agent.network.get_weights(), strict=True):
        assert new.dtype == old.dtype
        assert not np.array_equal(old, new)


@LONG
@pytest.mark.parametrize(
    ("agent_class", "more"),
    [(TRPO, {}), (PPO, {"kl_coefficient": 1.0, "adaptive_kl_target": 0.01}),
     (A2C, {"vtrace": True})],
)  # fmt: skip
@pytest.mark.parametrize("xla", [False, True])
def test_the_other_policy_steps_under_floatx_float64(double, agent_class, more, xla):
    settings = SETTINGS.get(agent_class, SETTINGS[PPO])
    agent = agent_class.for_env("Pendulum-v1", hidden=(8,), seed=0, xla=xla,
                                **settings, **more)  # fmt: skip
    history = agent.fit("Pendulum-v1", steps=32, epochs=1, verbose=0).history
    assert np.isfinite([history[name] for name in agent.report_names]).all()


class Strict(gymnasium.Env):
    """Takes only actions of its box, whose bounds no float32 holds."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float64)
    action_space = spaces.Box(-0.1, 0.3, (1,), np.float64)
    observed = np.zeros(1)

    def reset(self, *, seed=None, options=None):
        return self.observed, {}

    def step(self, action):
        if not self.action_space.contains(action):
            raise ValueError(f"not in the box: {action!r}")
        return self.observed, 0.0, False, True, {}


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_actions_stay_in_a_float64_box(sign):
    agent = A2C.for_env(Strict, hidden=(), seed=0, xla=False, num_envs=2)
    for weight in agent.network.trainable_weights:
        weight.assign(weight + sign * 9.0)  # all actions at a bound
    env = agent.environment(Strict, 1)
    action = agent.head.to_env(agent.greedy(agent.forward(tf.ones([1, 1]))))
    state, _ = env.reset([0, 1])
    env.step(state, action, [0, 1])
    assert action.dtype == tf.float64


@LONG
def test_training_in_a_float64_box():
    agent = A2C.for_env(Strict, hidden=(), seed=0, xla=False, num_envs=2)
    agent.fit(Strict, steps=32, epochs=1, verbose=0)
    action = agent.act(100.0 * np.ones([2, 1]))
    assert action.dtype == np.float64
    assert all(Strict.action_space.contains(row) for row in np.asarray(action))
