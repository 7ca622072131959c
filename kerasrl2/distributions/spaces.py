"""Chooses the policy head for an action space."""

import numpy as np

from kerasrl2._checks import check_choice
from kerasrl2.distributions.bounds import is_continuous, is_discrete
from kerasrl2.distributions.categorical import Categorical
from kerasrl2.distributions.continuous import Beta, DiagonalGaussian, SquashedGaussian


def head_for(action_space, kind="auto"):
    """The policy head for a Gymnasium action space.

    Args:
        action_space: `gymnasium.spaces.Discrete` or a floating-point `Box`.
        kind: `"auto"` (`"categorical"` or `"gaussian"`), `"categorical"`, `"gaussian"`,
            `"squashed_gaussian"` or `"beta"`.

    Returns:
        A `PolicyHead`.

    Example:
    >>> import gymnasium
    >>> head_for(gymnasium.spaces.Discrete(3)).num_parameters
    3
    """
    boxes = {
        "gaussian": DiagonalGaussian,
        "squashed_gaussian": SquashedGaussian,
        "beta": Beta,
    }
    check_choice("kind", kind, ("auto", "categorical", *boxes))
    _check_not_empty(action_space)
    if is_discrete(action_space):
        if kind in ("auto", "categorical"):
            return Categorical(int(action_space.n), int(action_space.start))
    elif is_continuous(action_space):
        if kind != "categorical":
            low, high = (
                np.ravel(x).tolist() for x in (action_space.low, action_space.high)
            )
            return boxes["gaussian" if kind == "auto" else kind](
                low, high, action_space.shape
            )
    else:
        raise ValueError(
            "Expected a Discrete or a floating-point Box action space. Received: "
            f"{action_space}. Wrap the environment to offer one of them"
        )
    fitting = ("categorical",) if is_discrete(action_space) else tuple(boxes)
    raise ValueError(
        f"Expected a distribution for the actions {action_space}: "
        f"{', '.join(map(repr, ('auto', *fitting)))}. Received: {kind!r}. Head kind "
        f"{kind!r} does not fit the action space."
    )


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
