"""Numbers that options take; a refusal says what was expected and what was received."""

import math
import re

import typer

LARGEST, _MOST = 2**31 - 1, 1_000  # of TensorFlow's shapes and seeds; seeds at once


def whole(low, high=None):
    """A parser of options: text to an integer of at least `low`, at most `high`."""
    bounds = f">= {low}" if high is None else f"in [{low}, {high}]"

    def integer(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < low or (high is not None and value > high):
            raise typer.BadParameter(f"Expected an integer {bounds}. Received: {text}")
        return value

    return integer


def several(text):
    """A parser of options: `"1-5"` or `"1,3,7-9"` to a tuple of integers, in order."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (match[1], match[2] or match[1]) if match else (1, 0)
        if int(first) > int(last) or int(last) > LARGEST:
            raise typer.BadParameter(
                "Expected integers >= 0, and ranges from the smaller to the larger, "
                f"such as 1-5 or 1,3,7-9. Received: {text}"
            )
        found += range(int(first), min(int(last), int(first) + _MOST) + 1)
    twice = sorted({seed for seed in found if found.count(seed) > 1})[:3]
    if twice or len(found) > _MOST:
        reason = f"{twice[0]} twice" if twice else f"more than {_MOST:,}"
        raise typer.BadParameter(
            f"Expected different integers, at most {_MOST:,}. Received: {text}, "
            f"{reason}"
        )
    return tuple(found)


def number(text):
    """A parser of options: text to a finite float."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"Expected a finite number. Received: {text}")
    return value
