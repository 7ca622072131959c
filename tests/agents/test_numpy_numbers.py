"""NumPy's numbers are numbers, wherever one is taken."""

import json

import keras
import numpy as np
import pytest

from kerasrl2._checks import plain
from kerasrl2.agents import DQN, PPO
from kerasrl2.exploration import Boltzmann, EpsilonGreedy
from kerasrl2.layers import (
    DuelingHead,
    NoisyDense,
    actor_critic,
    grid_cnn,
    mlp,
    nature_cnn,
    q_network,
    small_cnn,
)

N, F = np.int64, np.float64
SETTINGS = {
    "hidden": [4, 8],
    "seed": 3,
    "gamma": 0.5,
    "num_envs": 2,
    "max_gradient_norm": 0.5,
    "batch_size": 4,
    "n_step": 2,
    "learning_rate": 0.25,
}
MORE = {
    PPO: {"rollout_length": 8, "num_epochs": 2, "initial_log_std": -0.5},
    DQN: {
        "num_atoms": 5, "distribution": "categorical", "value_range": [-1.0, 2.0],
        "buffer_size": 99, "alpha": 0.5, "beta": 0.5, "prioritized": True,
        "final_epsilon": 0.25, "epsilon_steps": 50, "tau": 0.5, "temperature": 0.5,
        "target_update_interval": 7, "learning_starts": 9, "clip_rewards": 1.0,
    },
}  # fmt: skip


def of_numpy(value, kind):
    """The same in numbers of NumPy."""
    if isinstance(value, list):
        return [of_numpy(item, kind) for item in value]
    if isinstance(value, bool | str):
        return value
    if kind == "array":
        return np.array(value)
    return (np.int32 if isinstance(value, int) else np.float32)(value)


@pytest.mark.parametrize("kind", ["scalar", "array"])
@pytest.mark.parametrize("agent_class", [PPO, DQN])
def test_of_agents(agent_class, kind):
    settings = SETTINGS | MORE[agent_class]
    env = "CartPole-v1"
    expected = agent_class.for_env(env, **settings)
    made = agent_class.for_env(
        env, **{name: of_numpy(value, kind) for name, value in settings.items()}
    )
    assert [w.shape for w in made.weights] == [w.shape for w in expected.weights]
    for name in made.hyperparameters():
        value, other = getattr(made, name), getattr(expected, name)
        if isinstance(other, int | float | str | None):
            assert (type(value), value) == (type(other), other), name
    for name in ("buffer", "action_values", "exploration"):
        if hasattr(made, name):
            part = getattr(made, name).get_config()
            assert json.dumps(part) == json.dumps(getattr(expected, name).get_config())


@pytest.mark.parametrize(
    "make",
    [
        lambda: mlp((N(4),), [N(3)]),
        lambda: mlp((4,), np.array([3])),
        lambda: mlp((4,), range(3, 4)),
        lambda: nature_cnn((N(36), N(36), N(1)), N(3), pixel_max=np.float32(1.0)),
        lambda: small_cnn((N(16), N(16), N(1)), N(3)),
        lambda: grid_cnn((N(5), N(5), N(1)), N(2), N(3)),
        lambda: q_network((N(4),), N(3), np.array([2]), num_atoms=N(1)),
        lambda: q_network((N(4),), np.array(3), (N(2),), dueling=True, noisy=True),
        lambda: q_network((), N(3), num_classes=N(2)),
        lambda: actor_critic((N(4),), N(3), (N(2),), initial_log_std=F(0.0)),
    ],
)
def test_of_networks(make):
    model = make()
    json.dumps(keras.saving.serialize_keras_object(model))
    first = model.outputs[0].shape
    assert 3 in first


def test_of_layers_and_exploration():
    x = np.ones([1, 2], np.float32)
    assert NoisyDense(N(3), sigma=np.float32(0.5))(x).shape == (1, 3)
    assert DuelingHead(N(3), num_atoms=N(2), units=N(4))(x).shape == (1, 3, 2)
    assert EpsilonGreedy(np.float32(0.5)).epsilon == 0.5
    assert EpsilonGreedy(np.array(0.5)).epsilon == 0.5
    assert EpsilonGreedy(np.array([0.5, 0.25])).epsilon == (0.5, 0.25)
    assert Boltzmann(np.array(2)).temperature == 2.0


def test_plain():
    made = plain({"a": [np.int8(1), (np.float32(0.5), "b")], "c": np.bool_(True)})
    assert made == {"a": [1, (0.5, "b")], "c": True}
    assert [type(x) for x in (made["a"][0], made["c"])] == [int, bool]
    kept = np.ones(2)
    assert plain(kept) is kept


@pytest.mark.parametrize(
    "hidden", [64, "64", np.array(64), np.ones([2, 2], int), [np.float64(3.0)], [True]]
)
def test_no_sizes_are_refused(hidden):
    with pytest.raises(ValueError, match="`hidden` to be"):
        mlp((4,), hidden)
