"""Losses: functions with one value per sample, and `keras.losses.Loss` classes."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.losses.keras_losses import (
    ActorCriticLoss,
    HuberCriticLoss,
    PolicyGradientLoss,
)
from kerasrl2.losses.policy import (
    approximate_kl,
    categorical_entropy,
    categorical_log_prob,
    clipped_surrogate_loss,
    kl_penalty,
    policy_gradient_loss,
)
from kerasrl2.losses.values import clipped_value_loss, huber, squared_error, value_loss

__all__ = [
    "ActorCriticLoss",
    "HuberCriticLoss",
    "PolicyGradientLoss",
    "approximate_kl",
    "categorical_entropy",
    "categorical_log_prob",
    "clipped_surrogate_loss",
    "clipped_value_loss",
    "huber",
    "kl_penalty",
    "policy_gradient_loss",
    "squared_error",
    "value_loss",
]
