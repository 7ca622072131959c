"""Numbers that options take; a refusal says what was expected and what was received."""

import math

import typer


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


def number(text):
    """A parser of options: text to a finite float."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"Expected a finite number. Received: {text}")
    return value
