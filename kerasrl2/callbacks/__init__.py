"""Keras callbacks for reinforcement learning. Those of Keras work with them."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.callbacks.evaluation import EvaluateReturn, StopAtReturn
from kerasrl2.callbacks.hyperparameters import (
    LogHyperparameters,
    hyperparameters_of,
)
from kerasrl2.callbacks.recording import (
    RecordEpisodes,
    RecordVideo,
    record_episode,
    record_video,
)
from kerasrl2.callbacks.reporting import ReportToOptuna
from kerasrl2.callbacks.schedules import ScheduleValue
from kerasrl2.callbacks.solved import StopWhenSolved
from kerasrl2.callbacks.targets import TargetNetworkUpdate
from kerasrl2.callbacks.tensorboard import TensorBoard
from kerasrl2.training.progress import EpochLines, ProgressBar
from kerasrl2.training.resume import TrainingCheckpoint

__all__ = [
    "EpochLines",
    "EvaluateReturn",
    "LogHyperparameters",
    "ProgressBar",
    "RecordEpisodes",
    "RecordVideo",
    "ReportToOptuna",
    "ScheduleValue",
    "StopAtReturn",
    "StopWhenSolved",
    "TargetNetworkUpdate",
    "TensorBoard",
    "TrainingCheckpoint",
    "hyperparameters_of",
    "record_episode",
    "record_video",
]
