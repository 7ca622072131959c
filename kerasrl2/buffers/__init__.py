"""Replay buffers: in TensorFlow variables, for compiled loops, and in NumPy arrays."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.buffers.hindsight import HindsightReplayBuffer
from kerasrl2.buffers.numpy_backend import (
    NumpyPrioritizedReplayBuffer,
    NumpyReplayBuffer,
)
from kerasrl2.buffers.prioritized import PrioritizedReplayBuffer
from kerasrl2.buffers.replay import ReplayBuffer
from kerasrl2.buffers.sum_tree import SumTree
from kerasrl2.types import Transition

__all__ = [
    "HindsightReplayBuffer",
    "NumpyPrioritizedReplayBuffer",
    "NumpyReplayBuffer",
    "PrioritizedReplayBuffer",
    "ReplayBuffer",
    "SumTree",
    "Transition",
]
