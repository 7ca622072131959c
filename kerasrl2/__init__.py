"""Reinforcement learning for people who know Keras.

>>> import kerasrl2 as krl
>>> agent = krl.agents.PPO.for_env("CartPole-v1", seed=0)
>>> agent.act([0.0, 0.0, 0.0, 0.0]).shape
()

Sub-packages are imported when they are first used.
"""

import importlib

from kerasrl2._version import __version__

_SUBPACKAGES = (
    "action_noise",
    "action_values",
    "agents",
    "buffers",
    "callbacks",
    "distributed",
    "distributions",
    "envs",
    "errors",
    "exploration",
    "layers",
    "losses",
    "multi_agent",
    "natural_gradient",
    "permutations",
    "plotting",
    "populations",
    "ratings",
    "returns",
    "schedules",
    "statistics",
    "training",
    "tuning",
    "types",
    "zoo",
)
__all__ = ["__version__", "load_agent", *_SUBPACKAGES]


def __getattr__(name):
    if name == "load_agent":
        return importlib.import_module("kerasrl2.agents").load_agent
    if name in _SUBPACKAGES:
        return importlib.import_module(f"kerasrl2.{name}")
    raise AttributeError(f"module 'kerasrl2' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
