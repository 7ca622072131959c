"""Argument checks. Those of static shapes run while tracing only: no run-time cost."""

import difflib
import numbers

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
    first, *others = shapes.values()
    for shape in others:
        same_rank = len(shape) == len(first)
        pairs = zip(first, shape, strict=same_rank)
        if not same_rank or any(a != b for a, b in pairs if None not in (a, b)):
            raise ValueError(f"Expected tensors of one shape. Received: {shapes}")


def check_range(name, value, low=None, high=None, *, open_low=False, open_high=False):
    """Raises `ValueError` unless the number `value` lies between `low` and `high`.

    Args:
        name: String, the argument's name in the message.
        value: Number; None, a tensor or a schedule is not checked.
        low: Number or None, the smallest allowed value.
        high: Number or None, the largest allowed value.
        open_low: Boolean, whether `low` itself is excluded.
        open_high: Boolean, whether `high` itself is excluded.
    """
    if isinstance(value, str | bool | list | tuple | dict):
        raise ValueError(f"Expected `{name}` to be a number. Received: {value!r}")
    if not isinstance(value, numbers.Real):
        return
    below = low is not None and (value < low or (open_low and value == low))
    above = high is not None and (value > high or (open_high and value == high))
    if below or above or value != value:
        left = "(-inf" if low is None else f"{'(' if open_low else '['}{low}"
        right = "inf)" if high is None else f"{high}{')' if open_high else ']'}"
        raise ValueError(f"Expected `{name}` in {left}, {right}. Received: {value}")


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
        raise ValueError(
            f"Expected a keyword of `{owner}`. Received: {name!r}"
            f"{hint} It knows: {', '.join(known)}"
        )
