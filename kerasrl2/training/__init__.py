"""Compiled loops, evaluation and progress. They receive agents and import none."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.training.evaluate import Evaluator
from kerasrl2.training.fit import fit_loop
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.training.train_steps import QLearningTrainStep

__all__ = ["Evaluator", "OnPolicyLoop", "QLearningTrainStep", "fit_loop"]
