"""Rollouts, compiled loops, evaluation and checkpoints; imports no agents."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.training.asynchronous import AsynchronousLoop
from kerasrl2.training.collect import ActorState, begin_episodes, collect
from kerasrl2.training.contract import (
    AsynchronousLearner,
    Learner,
    OffPolicyLearner,
    OnPolicyLearner,
    Player,
    check_contract,
)
from kerasrl2.training.evaluate import Evaluator
from kerasrl2.training.fit import fit_loop
from kerasrl2.training.off_policy import OffPolicyLoop
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.training.recurrence import unroll
from kerasrl2.training.train_steps import QLearningTrainStep
from kerasrl2.training.worker import Worker

__all__ = [
    "ActorState",
    "AsynchronousLearner",
    "AsynchronousLoop",
    "Evaluator",
    "Learner",
    "OffPolicyLearner",
    "OffPolicyLoop",
    "OnPolicyLearner",
    "OnPolicyLoop",
    "Player",
    "QLearningTrainStep",
    "Worker",
    "begin_episodes",
    "check_contract",
    "collect",
    "fit_loop",
    "unroll",
]
