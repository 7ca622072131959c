"""Agents: networks, a loss and a learning rule each."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.agents.a2c import A2C
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.dqn import DQN
from kerasrl2.agents.loading import load_agent
from kerasrl2.agents.ppo import PPO
from kerasrl2.agents.presets import Preset, Rainbow
from kerasrl2.agents.specs import ObservationSpec

ALGORITHMS = {"a2c": A2C, "dqn": DQN, "ppo": PPO, "rainbow": Rainbow}

__all__ = [
    "A2C",
    "ALGORITHMS",
    "DQN",
    "PPO",
    "Agent",
    "ObservationSpec",
    "Preset",
    "Rainbow",
    "load_agent",
]
