"""Hyper-parameters that a population explores: their bounds, draws and changes."""

import math
from typing import NamedTuple

from kerasrl2._checks import check_range


class Range(NamedTuple):
    """Bounds of a hyper-parameter.

    Attributes:
        low: Number, the smallest value.
        high: Number, the largest value.
        log: Boolean, whether draws are uniform in the logarithm, so that each power of
            ten is equally probable; None: if `low > 0`.
        integer: Boolean, whether values are integers.

    Example:
    >>> rates = Range(1e-5, 1e-1)
    >>> rates.is_log, rates.clipped(3.0)
    (True, 0.1)
    """

    low: float
    high: float
    log: bool | None = None
    integer: bool = False

    @property
    def is_log(self):
        """Boolean, whether draws are uniform in the logarithm."""
        return self.low > 0 if self.log is None else self.log

    def draw(self, rng):
        """A number between the bounds.

        Args:
            rng: `numpy.random.Generator`.

        Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> draws = [Range(1e-5, 1e-1).draw(rng) for _ in range(1000)]
        >>> 0.45 < sum(x < 1e-3 for x in draws) / 1000 < 0.55
        True
        """
        if self.is_log:
            low, high = math.log(self.low), math.log(self.high)
            return self.clipped(math.exp(rng.uniform(low, high)))
        return self.clipped(float(rng.uniform(self.low, self.high)))

    def clipped(self, value):
        """The nearest allowed number.

        Example:
        >>> Range(1, 8, integer=True).clipped(9.6), Range(0.9, 0.99).clipped(0.5)
        (8, 0.9)
        """
        if self.integer:
            value = math.floor(value + 0.5)
        return min(max(value, self.low), self.high)

    def scaled(self, value, factor):
        """`value * factor`, within the bounds; an integer moves by at least 1.

        Example:
        >>> Range(1, 8, integer=True).scaled(2, 1.2), Range(0.0, 1.0).scaled(0.5, 0.5)
        (3, 0.25)
        """
        scaled = self.clipped(value * factor)
        if self.integer and scaled == value and factor != 1.0:
            scaled = self.clipped(value + (1 if factor > 1.0 else -1))
        return scaled


def checked_ranges(ranges):
    """Dictionary of names to `Range`s, from ranges or pairs of bounds.

    Args:
        ranges: Dictionary of names to `Range`, or `(low, high)`.

    Raises:
        ValueError: A range is none.

    Example:
    >>> checked_ranges({"learning_rate": (1e-5, 1e-2)})["learning_rate"].is_log
    True
    """
    if not isinstance(ranges, dict):
        raise ValueError(
            "Expected `ranges` as a dictionary of names of hyper-parameters to "
            f"`(low, high)`. Received: {ranges!r:.100}"
        )
    return {name: _checked(name, given) for name, given in ranges.items()}


def _checked(name, given):
    try:
        made = Range(*given)
        low, high = float(made.low), float(made.high)
    except TypeError:
        raise ValueError(
            f"Expected the range of {name!r} as `(low, high)` or a `Range`. Received: "
            f"{given!r:.100}"
        ) from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            f"Expected finite bounds of {name!r} with low < high. Received: "
            f"{(made.low, made.high)}." + (" They are reversed." if low > high else "")
        )
    if made.log and low <= 0.0:
        raise ValueError(
            f"Expected a range of {name!r} above 0, to draw in its logarithm. "
            f"Received: {(made.low, made.high)}. Set `log=False`."
        )
    return made


class Explore:
    """How a member changes the hyper-parameters that it has copied.

    Jaderberg et al. (2017), https://arxiv.org/abs/1711.09846, section 4.1.1: each is
    resampled with a small probability, else multiplied by one of two factors. Each has
    draws of its own. What leaves its range is clipped to it.

    Args:
        factors: Sequence of numbers > 0; one is drawn for each hyper-parameter.
        resample_probability: Float in [0, 1]: of a new draw from the range instead.
        inherit_probability: Float in [0, 1]: of taking the donor's number, before
            anything else, instead of keeping one's own.

    Example:
    >>> import numpy as np
    >>> explore, rng = Explore(resample_probability=0.0), np.random.default_rng(0)
    >>> ranges = {"learning_rate": Range(1e-5, 1e-1)}
    >>> own, donor = {"learning_rate": 1.0}, {"learning_rate": 1e-3}
    >>> drawn = [explore(own, donor, ranges, rng) for _ in range(50)]
    >>> sorted({round(numbers["learning_rate"], 6) for numbers in drawn})
    [0.0008, 0.0012]
    """

    def __init__(
        self, factors=(0.8, 1.2), resample_probability=0.25, inherit_probability=1.0
    ):
        if not len(factors):
            raise ValueError("Expected at least one of `factors`. Received: none.")
        for factor in factors:
            check_range("factors", factor, 0.0, open_low=True)
        check_range("resample_probability", resample_probability, 0.0, 1.0)
        check_range("inherit_probability", inherit_probability, 0.0, 1.0)
        self.factors = tuple(factors)
        self.resample_probability = resample_probability
        self.inherit_probability = inherit_probability

    def __call__(self, own, donor, ranges, rng):
        """Dictionary of names to the numbers to go on with.

        Args:
            own: Dictionary of names to the numbers so far.
            donor: The same, of the member whose weights are copied.
            ranges: Dictionary of names to `Range`; others stay as they are.
            rng: `numpy.random.Generator`.
        """
        numbers = {}
        for name, bounds in ranges.items():
            # All draws in any case: one choice does not shift the next one's.
            inherit, resample = rng.random(2)
            factor, fresh = rng.choice(self.factors), bounds.draw(rng)
            value = (donor if inherit < self.inherit_probability else own)[name]
            if resample < self.resample_probability:
                value = fresh
            else:
                value = bounds.scaled(value, float(factor))
            numbers[name] = value
        return numbers
