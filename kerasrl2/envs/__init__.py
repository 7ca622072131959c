"""Environments written in TensorFlow, Atari games, and a bridge to Gymnasium."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.envs import games
from kerasrl2.envs.atari import AtariEnvironment
from kerasrl2.envs.checking import Finding, check
from kerasrl2.envs.core import Environment, TensorFlowEnvironment
from kerasrl2.envs.gymnasium_bridge import GymnasiumEnvironment
from kerasrl2.envs.registry import ids, make, register

__all__ = [
    "AtariEnvironment",
    "Environment",
    "Finding",
    "GymnasiumEnvironment",
    "TensorFlowEnvironment",
    "check",
    "games",
    "ids",
    "make",
    "register",
]
