"""Tests of `kerasrl2.agents.RandomAgent`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

import kerasrl2 as krl
from kerasrl2.agents import RandomAgent
from tests.agents.nested_worlds import Minefield
from tests.envs.worlds import Spaces

SEEN = Box(-1.0, 1.0, [2])


def agent_for(action_space, seed=0, seen=SEEN):
    return RandomAgent.for_env(lambda: Spaces(seen, action_space), seed=seed, xla=False)


def played(agent, count):
    """So many actions, one call each."""
    return [int(agent.act([0.0, 0.0])) for _ in range(count)]


def test_equal_seeds_act_alike_and_others_do_not():
    agents = [agent_for(Discrete(3), seed) for seed in (1, 1, 2)]
    first, again, other = (played(agent, 1000) for agent in agents)
    assert first == again != other
    frequencies = np.bincount(first, minlength=3) / 1000
    np.testing.assert_allclose(frequencies, 1 / 3, atol=0.05)
    # Nobody's draws are another's.
    mixed = [agent_for(Discrete(3), 1), agent_for(Discrete(3), 2)]
    assert [int(a.act([0.0, 0.0])) for _ in range(99) for a in mixed][::2] == first[:99]


@pytest.mark.parametrize(
    ("space", "low", "high"),
    [
        (Discrete(3, start=-1), -1, 1),
        (MultiDiscrete([2, 4]), [0, 0], [1, 3]),
        (MultiBinary(3), [0] * 3, [1] * 3),
        (Box(np.float32([-2, 0]), np.float32([2, 9])), [-2, 0], [2, 9]),
    ],
    ids=str,
)
def test_actions_fill_their_space(space, low, high):
    agent = agent_for(space)
    actions = agent.act(np.zeros([2000, 2]))
    assert all(space.contains(row.astype(space.dtype)) for row in actions)
    width = np.subtract(high, low)
    np.testing.assert_allclose(actions.min(0), low, atol=0.02 * width.max())
    np.testing.assert_allclose(actions.max(0), high, atol=0.02 * width.max())
    middle = np.add(low, high) / 2
    np.testing.assert_allclose(actions.mean(0), middle, atol=0.05 * width.max())
    assert (actions != agent.act(np.zeros([2000, 2]))).any()


def test_an_unbounded_box_is_drawn_as_gymnasium_does():
    space = Box(np.float32([-np.inf, 3.0]), np.float32([np.inf, np.inf]))
    actions = agent_for(space).act(np.zeros([4000, 2]))
    np.testing.assert_allclose(actions.mean(0), [0.0, 4.0], atol=0.1)
    np.testing.assert_allclose(actions.std(0), [1.0, 1.0], atol=0.1)
    assert actions[:, 1].min() >= 3.0


def test_only_legal_actions():
    agent = RandomAgent.for_env(Minefield(), seed=0, xla=False)
    spec = agent.observation_spec
    mask = np.int8([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]] * 100)
    shape = spec.entries["observation"].shape
    observation = {"observation": np.zeros([300, *shape]), "action_mask": mask}
    actions = agent.act(observation).reshape(100, 3)
    assert (actions[:, 0] == 0).all()
    assert (actions[:, 1] == 2).all()
    assert set(actions[:, 2]) == {1, 3}
    assert agent.evaluate(Minefield(2), episodes=2)["episodes"] == 2


def test_fit_plays_and_learns_nothing(tmp_path):
    agent = RandomAgent.for_env("CartPole-v1", seed=0, xla=False)
    history = agent.fit(
        "CartPole-v1", 2000, epochs=2, validation_env="CartPole-v1", verbose=0
    ).history
    assert history["env_steps"] == [1024, 2048]
    assert 10 < history["return"][1] < 35
    assert {"loss", "learning_rate"}.isdisjoint(history)
    # There is no greedy policy to evaluate.
    scores = agent.evaluate("CartPole-v1", episodes=10)
    assert scores == agent.evaluate("CartPole-v1", episodes=10, greedy=False)
    assert history["val_return"][1] == scores["return"]
    assert scores != agent.evaluate("CartPole-v1", episodes=10, seed=1)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    assert int(loaded.env_steps) == 2048
    assert loaded.evaluate("CartPole-v1", episodes=10) == scores


def test_nested_observations():
    seen = Dict({"a": SEEN, "b": Discrete(4)})
    agent = agent_for(Discrete(2), seen=seen)
    assert agent.act({"a": [0.0, 0.0], "b": 3}) in (0, 1)


def test_in_a_graph_with_a_seed():
    agent, seen = agent_for(Discrete(9)), tf.zeros([50, 2])
    act = tf.function(lambda seed: agent.act(seen, seed=seed), autograph=False)
    first, again, other = (
        act(tf.constant(s)).numpy() for s in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    with pytest.raises(ValueError, match=r"Expected `seed`.*graph.*Received: none"):
        tf.function(agent.act, autograph=False)(seen)


def test_what_it_has_not_is_an_error(tmp_path):
    agent = agent_for(Discrete(2))
    for use in (lambda: agent.policy, lambda: agent.export(tmp_path / "new")):
        with pytest.raises(ValueError, match=r"greedy policy.*RandomAgent.*`act`"):
            use()
    with pytest.raises(ValueError, match=r"RandomAgent.for_env.*hidden"):
        RandomAgent.for_env("CartPole-v1", hidden=(4,))
    with pytest.raises(ValueError, match=r"`num_envs`.*0"):
        RandomAgent.for_env("CartPole-v1", num_envs=0)


def test_its_layer_makes_zeros():
    layer = krl.agents.random_agent.EqualParameters(3)
    assert layer(np.ones([4, 2])).numpy().tolist() == [[0.0] * 3] * 4
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert copy.num_parameters == 3
    assert layer(keras.KerasTensor((None, 7))).shape == (None, 3)
