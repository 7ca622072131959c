"""Keras layers, and functions that build networks of them."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.layers.actor_critics import actor_critic, recurrent_actor_critic
from kerasrl2.layers.actors import actor
from kerasrl2.layers.batch_renormalization import BatchRenormalization
from kerasrl2.layers.cells import ParallelCells
from kerasrl2.layers.convolutions import (
    grid_cnn,
    impala_cnn,
    nature_cnn,
    small_cnn,
)
from kerasrl2.layers.critics import critic
from kerasrl2.layers.dense import FewUnitsDense
from kerasrl2.layers.distillation import RandomNetworkDistillation
from kerasrl2.layers.encoders import encoder_for, mlp
from kerasrl2.layers.fourier import RandomFourierFeatures
from kerasrl2.layers.heads import StateDependentNoise, StateIndependentLogStd
from kerasrl2.layers.noisy import NoisyDense, seed_noise
from kerasrl2.layers.normalization import (
    NestedNormalization,
    RewardScaling,
    RunningNormalization,
)
from kerasrl2.layers.pixels import PixelConv2D
from kerasrl2.layers.q_networks import q_network, recurrent_q_network
from kerasrl2.layers.recurrent import RecurrentNetwork
from kerasrl2.layers.seeding import seed_weights
from kerasrl2.layers.targets import frozen_copy, update_target
from kerasrl2.layers.values import DuelingHead, FractionEmbedding

__all__ = [
    "BatchRenormalization",
    "DuelingHead",
    "FewUnitsDense",
    "FractionEmbedding",
    "NestedNormalization",
    "NoisyDense",
    "ParallelCells",
    "PixelConv2D",
    "RandomFourierFeatures",
    "RandomNetworkDistillation",
    "RecurrentNetwork",
    "RewardScaling",
    "RunningNormalization",
    "StateDependentNoise",
    "StateIndependentLogStd",
    "actor",
    "actor_critic",
    "critic",
    "encoder_for",
    "frozen_copy",
    "grid_cnn",
    "impala_cnn",
    "mlp",
    "nature_cnn",
    "q_network",
    "recurrent_actor_critic",
    "recurrent_q_network",
    "seed_noise",
    "seed_weights",
    "small_cnn",
    "update_target",
]
