"""Chooses the policy head for an action space."""

import math

import numpy as np

from kerasrl2._checks import check_choice
from kerasrl2.distributions.bounds import float_dtype, is_continuous, is_discrete
from kerasrl2.distributions.categorical import Categorical
from kerasrl2.distributions.continuous import Beta, DiagonalGaussian, SquashedGaussian
from kerasrl2.distributions.several import Bernoulli, MultiCategorical
from kerasrl2.distributions.state_dependent import StateDependentGaussian

_BOXES = {
    "gaussian": DiagonalGaussian,
    "squashed_gaussian": SquashedGaussian,
    "beta": Beta,
    "gsde": StateDependentGaussian,
}
KINDS = ("categorical", "multi_categorical", "bernoulli", *_BOXES)


def head_for(action_space, kind="auto", **options):
    """The policy head for a Gymnasium action space.

    Args:
        action_space: `gymnasium.spaces.Discrete`, `MultiDiscrete`, `MultiBinary` or a
            floating-point `Box`.
        kind: `"auto"`, or a head's `kind`: `"categorical"` for `Discrete`,
            `"multi_categorical"` for `MultiDiscrete`, `"bernoulli"` for `MultiBinary`,
            `"gaussian"` (which `"auto"` takes), `"squashed_gaussian"`, `"beta"` or
            `"gsde"` (`StateDependentGaussian`) for `Box`.
        **options: Further keywords of a head for `Box`.

    Returns:
        A `PolicyHead`.

    Raises:
        ValueError: No head knows the space, or the one that was asked for does not.

    Example:
    >>> import gymnasium
    >>> head_for(gymnasium.spaces.Discrete(3)).num_parameters
    3
    >>> head_for(gymnasium.spaces.MultiDiscrete([2, 3])).num_parameters
    5
    """
    check_choice("kind", kind, ("auto", *KINDS))
    _check_not_empty(action_space)
    fitting = _fitting(action_space)
    if not fitting:
        raise ValueError(
            "Expected a Discrete, MultiDiscrete, MultiBinary or floating-point Box "
            f"action space. Received: {action_space}. Wrap the environment to offer "
            "one of them"
        )
    if kind not in ("auto", *fitting):
        raise ValueError(
            f"Expected a distribution for the actions {action_space}: "
            f"{', '.join(map(repr, ('auto', *fitting)))}. Received: {kind!r}. Head "
            f"kind {kind!r} does not fit the action space."
        )
    kind = fitting[0] if kind == "auto" else kind
    if kind == "categorical":
        return Categorical(int(action_space.n), int(action_space.start))
    if kind == "bernoulli":
        return Bernoulli(math.prod(action_space.shape), action_space.shape)
    if kind == "multi_categorical":
        starts = getattr(action_space, "start", np.zeros_like(action_space.nvec))
        sizes = np.ravel(action_space.nvec).tolist()
        return MultiCategorical(sizes, np.ravel(starts).tolist(), action_space.shape)
    low, high = (np.ravel(x).tolist() for x in (action_space.low, action_space.high))
    dtype = float_dtype(action_space)
    return _BOXES[kind](low, high, action_space.shape, dtype, **options)


def _fitting(space):
    """The kinds of heads that know a space, the usual one first."""
    if is_discrete(space):
        return ("categorical",)
    if is_continuous(space):
        return tuple(_BOXES)
    if hasattr(space, "nvec"):
        return ("multi_categorical",)
    if hasattr(space, "n"):
        return ("bernoulli",)
    return ()


def _check_not_empty(space):
    """Raises `ValueError` unless there is more than nothing to choose from."""
    if is_discrete(space) and space.n < 1:
        raise ValueError(
            f"Expected at least one action in a Discrete space. Received: "
            f"n={space.n}. Declare how many actions there are."
        )
    if is_continuous(space):
        fixed = np.flatnonzero(~(np.ravel(space.low) < np.ravel(space.high)))
        if not np.prod(space.shape):
            raise ValueError(
                f"Expected actions of at least one dimension. Received: {space}."
            )
        if fixed.size:
            low, high = np.ravel(space.low)[fixed[0]], np.ravel(space.high)[fixed[0]]
            raise ValueError(
                f"Expected a Box of actions with each low < high. Received: {low} and "
                f"{high} in dimension {fixed[0]} of {space}. An action that cannot "
                "change is none: leave the dimension out, for instance by "
                "`gymnasium.wrappers.TransformAction`."
            )
