"""What a network's outputs say of action values: numbers or distributions."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.action_values.base import ActionValues
from kerasrl2.action_values.categorical import CategoricalValues
from kerasrl2.action_values.quantile import ImplicitQuantileValues, QuantileValues
from kerasrl2.action_values.scalar import ScalarValues

__all__ = [
    "ActionValues",
    "CategoricalValues",
    "ImplicitQuantileValues",
    "QuantileValues",
    "ScalarValues",
]
