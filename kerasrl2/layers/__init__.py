"""Keras layers, and functions that build networks of them."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.layers.encoders import actor_critic, mlp, nature_cnn
from kerasrl2.layers.heads import StateIndependentLogStd
from kerasrl2.layers.normalization import RewardScaling, RunningNormalization
from kerasrl2.layers.seeding import seed_weights

__all__ = [
    "RewardScaling",
    "RunningNormalization",
    "StateIndependentLogStd",
    "actor_critic",
    "mlp",
    "nature_cnn",
    "seed_weights",
]
