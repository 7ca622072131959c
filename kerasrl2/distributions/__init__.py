"""Policy heads: what a network's outputs mean as a distribution over actions.

Sampling, densities, entropies and divergences are written out here, because importing
TensorFlow Probability takes 0.8 s; `head.distribution(parameters)` gives its object.
"""

import kerasrl2._startup  # noqa: F401

from kerasrl2.distributions.categorical import Categorical
from kerasrl2.distributions.continuous import Beta, DiagonalGaussian, SquashedGaussian
from kerasrl2.distributions.deterministic import Deterministic
from kerasrl2.distributions.head import PolicyHead
from kerasrl2.distributions.masks import mask_parameters
from kerasrl2.distributions.several import Bernoulli, MultiCategorical
from kerasrl2.distributions.spaces import head_for
from kerasrl2.distributions.state_dependent import StateDependentGaussian

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "Deterministic",
    "DiagonalGaussian",
    "MultiCategorical",
    "PolicyHead",
    "SquashedGaussian",
    "StateDependentGaussian",
    "head_for",
    "mask_parameters",
]
