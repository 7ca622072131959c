"""Every keyword of `DQN.for_env` reaches the part it is for."""

import numpy as np
import pytest
from gymnasium import spaces

from kerasrl2 import action_values
from kerasrl2.agents import DQN, Rainbow
from kerasrl2.buffers import ReplayBuffer
from kerasrl2.exploration import Boltzmann, EpsilonGreedy, Greedy
from kerasrl2.layers import DuelingHead, NoisyDense
from tests.agents.images import Images
from tests.training.worlds import Scripted


def make(env="CartPole-v1", **hyperparameters):
    return DQN.for_env(env, **{"hidden": (4,), "seed": 0, **hyperparameters})


@pytest.mark.parametrize(
    ("hyperparameters", "expected"),
    [
        ({"buffer_size": 300}, {"capacity": 300}),
        ({"n_step": 4}, {"n_step": 4}),
        ({"gamma": 0.5}, {"gamma": 0.5}),
        ({"seed": 7}, {"seed": 7}),
        ({"prioritized": True, "alpha": 0.7}, {"alpha": 0.7, "beta": 0.4}),
        ({"prioritized": True}, {"prioritization": "proportional"}),
        ({"prioritized": "proportional"}, {"prioritization": "proportional"}),
        ({"prioritized": "rank", "beta": 0.8}, {"prioritization": "rank", "beta": 0.8}),
        ({"prioritized": True, "beta": 0.8}, {"alpha": 0.6, "beta": 0.8}),
        ({"prioritized": True, "gamma": 0.5, "n_step": 2}, {"gamma": 0.5, "n_step": 2}),
    ],
    ids=str,
)
def test_buffer(hyperparameters, expected):
    config = make(**hyperparameters).buffer.get_config()
    assert {name: config[name] for name in expected} == expected


def test_ranks_in_rainbow_and_a_word_that_is_none():
    settings = {"hidden": (4,), "seed": 0}
    agent = Rainbow.for_env("CartPole-v1", prioritized="rank", **settings)
    assert agent.buffer.prioritization == "rank"
    with pytest.raises(ValueError, match=r"`prioritized` .*'ranks'.*Did you mean"):
        make(prioritized="ranks")


@pytest.mark.parametrize("value", ["ranks", None, 2])
def test_no_other_prioritization(value):
    with pytest.raises(ValueError, match=f"`prioritized` .*rank. Received: {value!r}"):
        make(prioritized=value)


def test_continuous_actions_are_another_algorithms():
    with pytest.raises(ValueError, match=r"Box.*Algorithms that .* actions: a2c.*ppo"):
        make("Pendulum-v1")


@pytest.mark.parametrize(("gamma", "expected"), [(None, 0.5), (0.7, 0.7)])
def test_gamma_is_that_of_a_given_buffer_unless_it_is_given_too(gamma, expected):
    agent = make(buffer=ReplayBuffer(10, gamma=0.5), gamma=gamma, batch_size=2)
    assert agent.gamma == expected
    assert agent.sampling() == {"gamma": expected}
    assert make().gamma == 0.99


@pytest.mark.parametrize(
    ("hyperparameters", "kind", "expected"),
    [
        ({"loss": "squared"}, "ScalarValues", {"loss": "squared"}),
        (
            {"distribution": "categorical", "value_range": (-2.0, 6.0)},
            "CategoricalValues",
            {"minimum": -2.0, "maximum": 6.0, "num_atoms": 51},
        ),
        (
            {"distribution": "categorical", "num_atoms": 7},
            "CategoricalValues",
            {"minimum": -10.0, "maximum": 10.0, "num_atoms": 7},
        ),
        ({"distribution": "quantile"}, "QuantileValues", {"num_quantiles": 200}),
        (
            {"distribution": "quantile", "num_atoms": 7},
            "QuantileValues",
            {"num_quantiles": 7},
        ),
        (
            {"distribution": "implicit_quantile", "num_atoms": 7},
            "ImplicitQuantileValues",
            {"num_quantiles": 7},
        ),
    ],
    ids=str,
)
def test_action_values(hyperparameters, kind, expected):
    values = make(**hyperparameters).action_values
    assert type(values) is getattr(action_values, kind)
    config = values.get_config()
    assert {name: config[name] for name in expected} == expected


def test_exploration():
    agent = make(initial_epsilon=0.8, final_epsilon=0.2, epsilon_steps=100)
    epsilon = [agent.exploration.logs(step)["epsilon"] for step in (0, 50, 100, 200)]
    assert epsilon == pytest.approx([0.8, 0.5, 0.2, 0.2])
    boltzmann = make(exploration="boltzmann", boltzmann_temperature=0.3).exploration
    assert isinstance(boltzmann, Boltzmann)
    assert boltzmann.temperature == 0.3
    kinds = [type(make(noisy=noisy).exploration) for noisy in (False, True)]
    assert kinds == [EpsilonGreedy, Greedy]
    both = make(noisy=True, exploration="epsilon_greedy").exploration
    assert isinstance(both, EpsilonGreedy)


def test_hidden_layers():
    network = make(hidden=(5, 3), activation="tanh").q_network
    shapes = [tuple(weight.shape) for weight in network.weights]
    assert shapes == [(4, 5), (5,), (5, 3), (3,), (3, 2), (2,)]
    assert '"tanh"' in network.to_json()
    assert '"relu"' not in network.to_json()


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
def test_dueling_and_noisy(dueling, noisy):
    network = make(dueling=dueling, noisy=noisy).q_network
    kinds = {type(layer) for layer in network._flatten_layers()}
    assert (DuelingHead in kinds, NoisyDense in kinds) == (dueling, noisy)


def test_encoder():
    kinds = [
        {
            type(x).__name__
            for x in make(Images, **hyperparameters).q_network._flatten_layers()
        }
        for hyperparameters in ({}, {"encoder": "mlp"})
    ]
    assert ["Conv2D" in names for names in kinds] == [True, False]


def test_discrete_observations_are_one_hot_encoded():
    class Numbered(Scripted):
        def __init__(self):
            super().__init__([3])
            self.observation_space = spaces.Discrete(4)

    agent = make(Numbered())
    assert agent.forward(np.arange(4)).parameters.shape == (4, 2)


def test_only_float_observations_are_normalised():
    assert make(normalize_observations=True).observation_normalizer is not None
    assert make().observation_normalizer is None
    images = make(Images, normalize_observations=True)
    assert images.observation_normalizer is None


def test_rainbow_has_the_alpha_of_its_paper():
    config = Rainbow.for_env("CartPole-v1").buffer.get_config()
    assert (config["alpha"], config["beta"]) == (0.5, 0.4)


def test_rainbow_answers_with_the_keywords_of_dqn_too():
    with pytest.raises(ValueError, match=r"`Rainbow.for_env`.*'hiden'. .*'hidden'"):
        Rainbow.for_env("CartPole-v1", hiden=(4,))
    with pytest.raises(ValueError, match=r"`Rainbow.for_env`.*Did you mean 'dueling"):
        Rainbow.for_env("CartPole-v1", duellin=True)


def test_exploration_that_explores_nothing():
    with pytest.raises(ValueError, match=r"`exploration` as one of: auto, .*: 3$"):
        make(exploration=3)
