"""Losses: functions with one value per sample, and `keras.losses.Loss` classes."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.losses.distributional import (
    distributional_cross_entropy,
    project_distribution,
    quantile_huber_loss,
    quantile_midpoints,
)
from kerasrl2.losses.divergences import gaussian_kl
from kerasrl2.losses.keras_losses import (
    ActorCriticLoss,
    HuberCriticLoss,
    ImportanceWeightedTDLoss,
    PolicyGradientLoss,
)
from kerasrl2.losses.munchausen import (
    munchausen_reward,
    munchausen_td_error,
    scaled_log_policy,
    soft_value,
)
from kerasrl2.losses.policy import (
    adapted_kl_coefficient,
    approximate_kl,
    categorical_entropy,
    categorical_log_prob,
    clipped_surrogate_loss,
    kl_penalty,
    policy_gradient_loss,
    surrogate_loss,
)
from kerasrl2.losses.temporal_difference import (
    double_q_td_error,
    greedy_policy,
    importance_weighted_td_loss,
    q_learning_target,
    q_learning_td_error,
    value_of_action,
)
from kerasrl2.losses.values import clipped_value_loss, huber, squared_error, value_loss

__all__ = [
    "ActorCriticLoss",
    "HuberCriticLoss",
    "ImportanceWeightedTDLoss",
    "PolicyGradientLoss",
    "adapted_kl_coefficient",
    "approximate_kl",
    "categorical_entropy",
    "categorical_log_prob",
    "clipped_surrogate_loss",
    "clipped_value_loss",
    "distributional_cross_entropy",
    "double_q_td_error",
    "gaussian_kl",
    "greedy_policy",
    "huber",
    "importance_weighted_td_loss",
    "kl_penalty",
    "munchausen_reward",
    "munchausen_td_error",
    "policy_gradient_loss",
    "project_distribution",
    "q_learning_target",
    "q_learning_td_error",
    "quantile_huber_loss",
    "quantile_midpoints",
    "scaled_log_policy",
    "soft_value",
    "squared_error",
    "surrogate_loss",
    "value_loss",
    "value_of_action",
]


def __getattr__(name):
    hint = " It is called 'value_of_action' now." if name == "take_action" else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{hint}")
