"""What Keras shows of an agent: its layers, and a picture of its network."""

import importlib.util
import re

import keras
import pytest

from kerasrl2.agents import PPO


@pytest.fixture(scope="module")
def agent():
    return PPO.for_env("CartPole-v1", hidden=(3,), seed=0)


def test_summary_lists_every_layer_with_its_parameters(agent):
    lines = []
    agent.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "actor_critic (Functional)" in text
    rows = [line for line in text.splitlines() if "Dense)" in line]
    counts = [int(re.findall(r"\d+", row)[-1]) for row in rows]
    assert counts == [15, 15, 8, 4], text
    lines.clear()
    agent.summary(print_fn=lines.append, expand_nested=False)
    assert "Dense" not in "\n".join(lines)


def test_a_picture_of_the_network(agent, tmp_path):
    """Keras draws the inside of functional models only; it says what is missing."""
    if importlib.util.find_spec("pydot") is None:
        for model in (agent, agent.network):
            with pytest.raises(ImportError, match="You must install pydot"):
                keras.utils.plot_model(model, tmp_path / "network.png")
        return
    graph = keras.utils.model_to_dot(agent.network, expand_nested=True).to_string()
    assert all(layer.name in graph for layer in agent.network.layers)
