"""Argument checks. Those of static shapes run while tracing only: no run-time cost."""

import difflib
import functools
import math
import numbers

import numpy as np

from kerasrl2._words import keyword_here

_FLOAT32 = 1.1754944e-38, 3.4028234e38  # the least normal number, and the largest
_RENAMED = {  # keywords of earlier versions; None: removed
    "clip_ratio": "clip_range",
    "epochs": "num_epochs",
    "knobs": "hyperparameters",
    "overlap": None,
}


def check_same_shape(**tensors):
    """Raises `ValueError` unless all tensors have the same static shape.

    Guards against silent broadcasting: `[B] - [B, 1]` is `[B, B]`, and its mean still
    looks like a loss. An unknown (`None`) dimension matches everything.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if not agree(*shapes.values()):
        raise ValueError(f"Expected tensors of one shape. Received: {shapes}")


def agree(*shapes):
    """Whether tuples are one and the same shape; None stands for any size."""
    if len({len(shape) for shape in shapes}) > 1:
        return False
    return all(len({*sizes} - {None}) < 2 for sizes in zip(*shapes, strict=True))


def check_range(name, value, low=None, high=None, *, open_low=False, open_high=False):
    """Raises `ValueError` unless the number `value` lies between `low` and `high`.

    Args:
        name: String, the argument's name in the message.
        value: Number; of a scalar tensor, a schedule or None nothing is checked.
        low: Number or None, the smallest allowed value.
        high: Number or None, the largest allowed value.
        open_low: Boolean, whether `low` itself is excluded.
        open_high: Boolean, whether `high` itself is excluded.
    """
    several = tuple(getattr(value, "shape", ())) != ()
    if isinstance(value, str | bool | list | tuple | dict) or several:
        raise ValueError(f"Expected `{name}` to be a number. Received: {value!r}")
    if not isinstance(value, numbers.Real):
        return
    below = low is not None and (value < low or (open_low and value == low))
    above = high is not None and (value > high or (open_high and value == high))
    lost = _lost_in_float32(value, low if open_low else None, open_high and high)
    if below or above or value != value or lost:
        left = "(-inf" if low is None else f"{'(' if open_low else '['}{low}"
        right = "inf)" if high is None else f"{high}{')' if open_high else ']'}"
        raise ValueError(
            f"Expected `{name}` in {left}, {right}. Received: {value}{lost}"
        )


def _lost_in_float32(value, low, high):
    """What a number becomes that a float32 cannot tell from an excluded bound."""
    if low == 0.0 and 0.0 < value < _FLOAT32[0]:
        return f", which is 0 in float32: at least {_FLOAT32[0]}"
    if high == math.inf and _FLOAT32[1] < value < math.inf:
        return f", which is infinite in float32: at most {_FLOAT32[1]}"
    return ""


def check_positive_integer(name, value):
    """Raises `ValueError` unless `value` is an integer of at least 1."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not integer or value < 1:
        raise ValueError(f"Expected `{name}` to be an integer >= 1. Received: {value}")


def check_choice(name, value, choices):
    """Raises `ValueError`, with the nearest choice, unless `value` is in `choices`."""
    if value not in choices:
        known = ", ".join(map(str, choices))
        raise ValueError(
            f"Expected `{name}` to be one of: {known}. Received: {value!r}"
            f"{did_you_mean(value, choices)}"
        )


def did_you_mean(value, choices):
    """A hint such as `". Did you mean 'ppo'?"`; empty if no choice is similar."""
    near = difflib.get_close_matches(
        str(value), list(map(str, choices)), n=3, cutoff=0.5
    )
    return f". Did you mean {' or '.join(map(repr, near))}?" if near else ""


def check_keywords(owner, received, known):
    """Raises `ValueError`, with the nearest names, on keywords that are not `known`.

    Args:
        owner: String, what was called, for the message.
        received: Iterable of strings.
        known: Iterable of strings.
    """
    known = sorted(known)
    for name in received:
        if name in known:
            continue
        hint = did_you_mean(name, known) or "."
        if name in _RENAMED:
            new = _RENAMED[name]
            now = "gone: it is not needed" if new is None else f"called {new!r} now"
            hint = f", which is {now}."
        elif (here := keyword_here(name, known)) is not None:
            hint = f", {here}."
        raise ValueError(
            f"Expected a keyword of `{owner}`. Received: {name!r}"
            f"{hint} It knows: {', '.join(known)}"
        )


def plain(value):
    """Python's numbers in place of NumPy's, also within lists, tuples, dictionaries.

    Keras takes no `numpy.int64(64)` for a size, and files hold none. Arrays of one axis
    and more stay as they are.
    """
    if isinstance(value, np.generic) or (
        isinstance(value, np.ndarray) and value.shape == () and value.dtype != object
    ):
        return value.item()
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    if type(value) is dict:
        return {name: plain(item) for name, item in value.items()}
    return value


def plain_numbers(function):
    """A decorator: `function` gets its arguments as `plain` makes them."""

    @functools.wraps(function)
    def decorated(*args, **kwargs):
        return function(*plain(args), **plain(kwargs))

    return decorated
