"""Every agent, on every kind of action space, is put through `check_agent`."""

import keras
import numpy as np
import pytest
from gymnasium.spaces import Box, MultiBinary, MultiDiscrete

import kerasrl2 as krl
from kerasrl2.agents import A2C, algorithm, algorithms, registration
from kerasrl2.agents.keywords import keywords_of
from tests.agents.harness import check_agent
from tests.envs.worlds import Spaces

# Keras 3.15 under NumPy 2 warns of its own variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

SPACES = {
    "categorical": ("CartPole-v1", "discrete", {}),
    "gaussian": ("Pendulum-v1", "continuous", {"distribution": "gaussian"}),
    "squashed": ("Pendulum-v1", "continuous", {"distribution": "squashed_gaussian",
                                               "standard_deviation": "dependent"}),
    "beta": ("Pendulum-v1", "continuous", {"distribution": "beta"}),
}  # fmt: skip
QUICK = [("a2c", "gaussian"), ("dqn", "categorical")]
# What makes every weight move within 64 steps, of the keywords an algorithm has.
LIVELY = {
    "num_envs": 2, "learning_rate": 0.01, "activation": "tanh", "num_epochs": 2,
    "rollout_length": 8, "batch_size": 8, "normalize_observations": True,
    "normalize_rewards": True, "entropy_coefficient": 0.01, "learning_starts": 10,
    "target_update_interval": 3, "num_atoms": 5,
}  # fmt: skip
LONG = pytest.mark.long


def settings_of(name):
    """The registered quick settings, livelier."""
    found = registration(name)
    known = keywords_of(found.agent_class)
    return {**found.quick, **{k: v for k, v in LIVELY.items() if k in known}}


def cases():
    for name in algorithms():
        if name == "random":  # learns nothing: tests/agents/test_random_agent.py
            continue
        for space, (_, actions, _) in SPACES.items():
            own = "distribution" not in keywords_of(
                algorithm(name)
            )  # a head of its own
            if actions in registration(name).actions and not (
                own and space not in ("categorical", "squashed")
            ):
                quick = (name, space) in QUICK
                yield pytest.param(name, space, marks=[] if quick else LONG)


@pytest.mark.parametrize(("name", "space"), list(cases()))
def test_agent(name, space, tmp_path):
    env_id, _, head = SPACES[space]

    def make_agent(**settings):
        known = keywords_of(algorithm(name))
        chosen = {k: v for k, v in head.items() if k in known}
        hyperparameters = {**settings_of(name), **chosen, **settings}
        return algorithm(name).for_env(env_id, **hyperparameters)

    # TensorFlow adds three or more gradients of one tensor in an order that varies.
    rtol = 1e-5 if space == "beta" else 0.0
    check_agent(make_agent, env_id, tmp_path, rtol=rtol)


@pytest.mark.long
@pytest.mark.parametrize(
    "space",
    [MultiDiscrete([2, 3]), pytest.param(MultiBinary(3), marks=pytest.mark.long)],
    ids=str,
)
def test_several_actions_at_once(space, tmp_path):
    box = Box(-1.0, 1.0, [2])
    agent = A2C.for_env(lambda: Spaces(box, space), xla=False, **settings_of("a2c"))
    agent.fit(lambda: Spaces(box, space), steps=32, epochs=1, verbose=0)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    observation = np.float32([[0.1, 0.2], [-0.3, 0.4]])
    action = loaded.act(observation)
    np.testing.assert_array_equal(action, agent.act(observation))
    assert all(space.contains(row.astype(space.dtype)) for row in action)


def test_q_learning_says_who_learns_several_actions():
    with pytest.raises(ValueError, match=r"MultiDiscrete.*a2c.*ppo"):
        algorithm("dqn").for_env(lambda: Spaces(Box(-1, 1, [2]), MultiDiscrete([2, 2])))


@pytest.mark.long
def test_value_based_agent_with_other_parts(tmp_path):
    def make_agent(**settings):
        parts = {"exploration": "boltzmann", "distribution": "quantile"}
        hyperparameters = {**settings_of("dqn"), **parts, **settings}
        return algorithm("dqn").for_env("CartPole-v1", **hyperparameters)

    check_agent(make_agent, "CartPole-v1", tmp_path)


@pytest.mark.long
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
