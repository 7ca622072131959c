"""The algorithms written out in `examples/` make the same numbers as the agents.

Op by op, in a graph, they are equal to the bit. So is DQN with XLA. PPO with XLA is
equal up to rounding, for two reasons that were found by taking them away: the agent
masks its sums by what its guard against NaN says, and has the values of successors from
the row below where no episode was truncated. XLA fuses other loops there, which add in
another order.
"""

import functools
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.envs.classic_control.cartpole import CartPole
from kerasrl2.envs.classic_control.pendulum import Pendulum
from tests.test_documentation import without_xla  # noqa: F401  (a fixture)

EXAMPLES = Path(__file__).parents[1] / "examples"
SEED = 3
SHARED = "hidden", "gamma", "learning_rate", "max_gradient_norm", "batch_size"
OF_PPO = (
    "num_envs", "rollout_length", "num_epochs", "clip_range", "value_coefficient",
    "entropy_coefficient",
)  # fmt: skip
OF_DQN = (
    "num_envs", "buffer_size", "learning_starts", "train_frequency", "gradient_steps",
    "target_update_interval", "initial_epsilon", "final_epsilon", "epsilon_steps",
)  # fmt: skip
SHORT_CARTPOLE = functools.partial(CartPole, max_episode_steps=15)  # truncates, too
SHORT_PENDULUM = functools.partial(Pendulum, max_episode_steps=15)


def load(name, **constants):
    """An example as a module of its own, with other constants."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for constant, value in constants.items():
        assert hasattr(module, constant)
        setattr(module, constant, value)
    return module


def settings(module, names):
    """The constants of an example as keywords of `for_env`."""
    return {name: getattr(module, name.upper()) for name in (*SHARED, *names)}


def both_ppo(env, iterations, xla, **constants):
    """Weights `(of the example, of the agent)` after some iterations."""
    constants = {"HIDDEN": (16, 16), "NUM_EPOCHS": 2, "BATCH_SIZE": 64, **constants}
    module = load("ppo_one_file", **constants)
    steps = iterations * module.NUM_ENVS * module.ROLLOUT_LENGTH
    network = module.train(env(module.NUM_ENVS), steps, SEED)
    agent = krl.agents.PPO.for_env(
        env(module.NUM_ENVS),
        lambda_=module.LAMBDA,
        seed=SEED,
        xla=xla,
        **settings(module, OF_PPO),
    )
    agent.fit(env(module.NUM_ENVS), steps=steps, epochs=1, verbose=0)
    updates = iterations * module.NUM_EPOCHS * (steps // iterations) // 64
    assert int(agent.optimizer.iterations) == updates
    return network.get_weights(), agent.network.get_weights()


def both_dqn(steps, xla, **constants):
    """`Learner` and agent after some steps."""
    constants = {
        "HIDDEN": (16, 16),
        "LEARNING_STARTS": 96,  # reached exactly
        "TARGET_UPDATE_INTERVAL": 7,
        "EPSILON_STEPS": 300,
        **constants,
    }
    module = load("dqn_one_file", **constants)
    learner = module.train(SHORT_CARTPOLE(module.NUM_ENVS), steps, SEED)
    agent = krl.agents.DQN.for_env(
        SHORT_CARTPOLE(module.NUM_ENVS), seed=SEED, xla=xla, **settings(module, OF_DQN)
    )
    agent.fit(SHORT_CARTPOLE(module.NUM_ENVS), steps=steps, epochs=1, verbose=0)
    return learner, agent


def assert_same_learner(learner, agent, updates):
    assert int(learner.optimizer.iterations) == updates
    assert int(agent.optimizer.iterations) == updates
    assert_equal(learner.network.get_weights(), agent.network.get_weights())
    target = learner.target_network.get_weights()
    assert_equal(target, agent.target_network.get_weights())
    assert not np.array_equal(target[0], learner.network.get_weights()[0])
    assert int(learner.buffer.added()) == int(agent.buffer.added())


def assert_equal(weights, others):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


# Large steps, so that ratios and gradients are clipped.
LARGE_STEPS = {"LEARNING_RATE": 1e-2, "CLIP_RANGE": 0.05, "MAX_GRADIENT_NORM": 0.2}


@pytest.mark.long
@pytest.mark.parametrize("env", [SHORT_CARTPOLE, SHORT_PENDULUM])
def test_ppo(env, without_xla):  # noqa: F811
    constants = {**LARGE_STEPS, "ENTROPY_COEFFICIENT": 0.01}
    assert_equal(*both_ppo(env, 3, xla=False, **constants))


@pytest.mark.long
def test_dqn(without_xla):  # noqa: F811
    constants = {"TRAIN_FREQUENCY": 2, "GRADIENT_STEPS": 2, "MAX_GRADIENT_NORM": 0.1}
    learner, agent = both_dqn(512, False, **constants)
    assert_same_learner(learner, agent, updates=2 * (512 // 16 - 6))


@pytest.mark.long
def test_dqn_with_an_update_each_step(without_xla):  # noqa: F811
    constants = {"NUM_ENVS": 1, "TRAIN_FREQUENCY": 1, "GRADIENT_STEPS": 1}
    learner, agent = both_dqn(256, False, **constants)
    assert_same_learner(learner, agent, updates=256 - 96)


@pytest.mark.long
def test_ppo_with_xla():
    weights, others = both_ppo(SHORT_CARTPOLE, 2, xla="auto")
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(weight, other, rtol=0, atol=1e-6)


@pytest.mark.long
def test_dqn_with_xla():
    learner, agent = both_dqn(512, "auto", GRADIENT_STEPS=2)
    assert_same_learner(learner, agent, updates=2 * (512 // 64 - 2))


@pytest.mark.long
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_ppo_as_it_stands(env, without_xla):  # noqa: F811
    constants = {"HIDDEN": (64, 64), "NUM_EPOCHS": 20, "BATCH_SIZE": 64}
    env = functools.partial(krl.envs.make, env)
    assert_equal(
        *both_ppo(lambda num_envs: env(num_envs=num_envs), 12, False, **constants)
    )


@pytest.mark.long
def test_dqn_as_it_stands(without_xla):  # noqa: F811
    constants = {"HIDDEN": (256, 256), "LEARNING_STARTS": 1_000, "EPSILON_STEPS": 1_500}
    constants["TARGET_UPDATE_INTERVAL"] = 31
    learner, agent = both_dqn(2_048, False, **constants)
    assert_same_learner(learner, agent, updates=32 * (32 - 16))
