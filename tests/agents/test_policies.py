"""`agent.policy` is the whole policy: what `act` does, as one Keras model."""

import keras
import numpy as np
import pytest
from gymnasium import spaces

from kerasrl2.agents import A2C, DQN, PPO
from kerasrl2.distributions import Categorical
from kerasrl2.layers import RunningNormalization
from tests.training.worlds import Scripted

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def world(observations, actions=None):
    made = Scripted([3])
    made.observation_space = observations
    made.action_space = spaces.Discrete(3, start=5) if actions is None else actions
    return made


VECTOR = spaces.Box(-np.inf, np.inf, (2,), np.float32)
PICTURE = spaces.Box(0, 255, (3, 5, 5), np.uint8)
TORQUE = spaces.Box(-2.0, 4.0, (2,), np.float32)


@pytest.mark.parametrize(
    ("agent_class", "observations", "actions", "keywords"),
    [
        (PPO, VECTOR, TORQUE, {"normalize_observations": True}),
        (PPO, VECTOR, TORQUE, {"distribution": "beta"}),
        (A2C, PICTURE, None, {}),
        (A2C, spaces.Discrete(4, start=3), TORQUE, {}),
        (DQN, VECTOR, None, {"normalize_observations": True, "dueling": True}),
        (DQN, PICTURE, None, {"noisy": True, "distribution": "categorical"}),
        (DQN, VECTOR, None, {"distribution": "implicit_quantile", "noisy": True}),
    ],
    ids=str,
)
def test_it_says_what_the_agent_says(
    tmp_path, agent_class, observations, actions, keywords
):
    keywords = {"hidden": (4,), "seed": 0, "xla": False, **keywords}
    agent = agent_class.for_env(world(observations, actions), **keywords)
    observations.seed(0)
    batch = np.array([observations.sample() for _ in range(4)])
    if observations is VECTOR:
        batch = batch + np.float32([5.0, -900.0])
    if agent.observation_normalizer is not None:
        agent.observation_normalizer.update(batch)
    said = agent.policy(batch)
    np.testing.assert_allclose(said["action"], agent.act(batch), rtol=1e-5)
    outputs = agent.forward(batch)
    np.testing.assert_allclose(said["parameters"], outputs.parameters, rtol=1e-4)
    if agent_class is not DQN:
        np.testing.assert_allclose(said["value"], outputs.value, rtol=1e-4)
    agent.policy.save(tmp_path / "policy.keras")
    loaded = keras.models.load_model(tmp_path / "policy.keras")
    for name, value in said.items():
        np.testing.assert_array_equal(loaded(batch)[name], value)
    plain = agent.policy.predict(batch, verbose=0)
    np.testing.assert_allclose(plain["action"], agent.predict(batch), rtol=1e-5)


def test_the_normaliser_is_inside_and_weights_are_shared():
    """The network alone would be asked about numbers it has never seen."""
    inputs = keras.Input([1])
    outputs = [keras.layers.Dense(2)(inputs), keras.layers.Dense(1)(inputs)]
    agent = PPO(
        keras.Model(inputs, outputs), Categorical(2), None,
        observation_normalizer=RunningNormalization(),
    )  # fmt: skip
    weights = [[[1.0, -1.0]], [0.0, 0.0], [[3.0]], [0.5]]
    agent.network.set_weights([np.float32(weight) for weight in weights])
    agent.observation_normalizer.update(np.float32([[10.0], [14.0]]))  # 12, deviation 2
    said = agent.policy(np.float32([[9.0]]))
    np.testing.assert_allclose(said["parameters"], [[-1.5, 1.5]])
    np.testing.assert_allclose(said["value"], [-4.0])
    assert said["action"].numpy() == agent.act(np.float32([[9.0]])) == [1]
    assert agent.network(np.float32([[9.0]]))[1].numpy() == [[27.5]]
    policy = agent.policy
    agent.network.weights[0].assign([[2.0, -1.0]])
    np.testing.assert_allclose(policy(np.float32([[9.0]]))["parameters"], [[-3.0, 1.5]])
    assert agent.policy is policy
    agent.observation_normalizer = None
    assert agent.policy(np.float32([[9.0]]))["value"].numpy() == [27.5]
    names = [variable.path for variable in agent.variables]
    assert len(names) == len(set(names))  # the agent holds no second network


def test_a_policy_of_ones_own_says_so():
    class Second(PPO):
        def greedy(self, outputs):
            return 1 - super().greedy(outputs)

    agent = Second.for_env("CartPole-v1", hidden=())
    with pytest.raises(ValueError, match="`policy_outputs` of Second"):
        _ = agent.policy
