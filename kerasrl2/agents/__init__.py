"""Agents: each has networks, a loss and an update rule."""

import kerasrl2._startup  # noqa: F401

from kerasrl2._numbers import Number
from kerasrl2.agents.a2c import A2C
from kerasrl2.agents.a3c import A3C
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.apex import ApeX, ApeXDPG
from kerasrl2.agents.ddpg import DDPG
from kerasrl2.agents.discrete_sac import DiscreteSAC
from kerasrl2.agents.dppo import DPPO
from kerasrl2.agents.dqn import DQN
from kerasrl2.agents.impala import IMPALA
from kerasrl2.agents.intrinsic import random_network_distillation
from kerasrl2.agents.loading import load_agent
from kerasrl2.agents.ppo import PPO
from kerasrl2.agents.q_actor_critic import QActorCritic
from kerasrl2.agents.rainbow import Rainbow
from kerasrl2.agents.random_agent import RandomAgent
from kerasrl2.agents.registry import (
    Registration,
    algorithm,
    algorithms,
    register,
    registration,
)
from kerasrl2.agents.reinforce import Reinforce
from kerasrl2.agents.rnd import RND
from kerasrl2.agents.sac import SAC
from kerasrl2.agents.sac_variants import REDQ, TQC, CrossQ
from kerasrl2.agents.specs import NestedSpec, ObservationSpec
from kerasrl2.agents.td3 import TD3
from kerasrl2.agents.trpo import TRPO

__all__ = [
    "A2C",
    "A3C",
    "DDPG",
    "DPPO",
    "DQN",
    "IMPALA",
    "PPO",
    "REDQ",
    "RND",
    "SAC",
    "TD3",
    "TQC",
    "TRPO",
    "Agent",
    "ApeX",
    "ApeXDPG",
    "CrossQ",
    "DiscreteSAC",
    "NestedSpec",
    "Number",
    "ObservationSpec",
    "QActorCritic",
    "Rainbow",
    "RandomAgent",
    "Registration",
    "Reinforce",
    "algorithm",
    "algorithms",
    "load_agent",
    "random_network_distillation",
    "register",
    "registration",
]
