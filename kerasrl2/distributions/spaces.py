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
