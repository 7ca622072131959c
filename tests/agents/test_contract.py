"""Every agent, on every kind of action space, is put through `check_agent`."""

import itertools

import keras
import numpy as np
import pytest

from kerasrl2.agents import A2C, DQN, PPO, Rainbow
from tests.agents.harness import check_agent

# Keras 3.15 under NumPy 2 warns of its own variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

AGENTS = {
    "ppo": (PPO, {"rollout_length": 16, "batch_size": 16, "num_epochs": 2}),
    "a2c": (A2C, {"rollout_length": 8}),
}
SPACES = {
    "categorical": ("CartPole-v1", {}),
    "gaussian": ("Pendulum-v1", {"distribution": "gaussian"}),
    "squashed": ("Pendulum-v1", {"distribution": "squashed_gaussian",
                                 "standard_deviation": "dependent"}),
    "beta": ("Pendulum-v1", {"distribution": "beta"}),
}  # fmt: skip
QUICK = [("ppo", "gaussian"), ("a2c", "categorical")]
COMMON = {"hidden": (8,), "num_envs": 2, "learning_rate": 0.01}
COMMON |= {"normalize_observations": True, "normalize_rewards": True}
COMMON |= {"entropy_coefficient": 0.01}  # so that the Gaussian's deviation moves too


LONG = pytest.mark.long
CASES = [
    pytest.param(*case, marks=[] if case in QUICK else LONG)
    for case in itertools.product(AGENTS, SPACES)
]


@pytest.mark.parametrize(("name", "space"), CASES)
def test_agent(name, space, tmp_path):
    agent_class, hyperparameters = AGENTS[name]
    env_id, head = SPACES[space]

    def make_agent(**settings):
        return agent_class.for_env(
            env_id, **COMMON, **hyperparameters, **head, **settings
        )

    # TensorFlow adds three or more gradients of one tensor in an order that varies.
    rtol = 1e-5 if space == "beta" else 0.0
    check_agent(make_agent, env_id, tmp_path, rtol=rtol)


REPLAY = {"hidden": (8,), "num_envs": 2, "learning_rate": 0.01, "activation": "tanh"}
REPLAY |= {"normalize_observations": True, "buffer_size": 200, "batch_size": 8}
REPLAY |= {"learning_starts": 10, "target_update_interval": 3}
VALUE_BASED = {
    "dqn": (DQN, {"double": True}),
    "boltzmann": (DQN, {"exploration": "boltzmann", "distribution": "quantile"}),
    "rainbow": (Rainbow, {"num_atoms": 5}),
}


@pytest.mark.parametrize(
    "name",
    ["dqn", *(pytest.param(n, marks=LONG) for n in ("boltzmann", "rainbow"))],
)
def test_value_based_agent(name, tmp_path):
    agent_class, hyperparameters = VALUE_BASED[name]

    def make_agent(**settings):
        return agent_class.for_env(
            "CartPole-v1", **REPLAY, **hyperparameters, **settings
        )

    check_agent(make_agent, "CartPole-v1", tmp_path)


@pytest.mark.parametrize("xla", [pytest.param(True, marks=LONG), False])
def test_a_new_optimizer_is_the_one_that_learns(xla):
    """One that was compiled for an earlier `fit` has no part in the next."""
    agent = A2C.for_env("CartPole-v1", hidden=(4,), seed=0, xla=xla)
    agent.fit("CartPole-v1", steps=80, epochs=1, verbose=0)
    before = agent.network.get_weights()
    agent.compile(optimizer=keras.optimizers.SGD(0.0))
    agent.optimizer.build(agent.trainable_variables)
    agent.fit("CartPole-v1", steps=80, epochs=1, verbose=0)
    assert int(agent.optimizer.iterations) > 0
    for a, b in zip(agent.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
