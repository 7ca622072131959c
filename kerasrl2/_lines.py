"""Figures as aligned text of at most 80 columns."""

import math
import re

WIDTH, _LONGEST = 80, 7
_GAP = "  "
_FIGURES = {  # of the logs: header, width; in the order of the line
    "return": ("return", 7),
    "val_return": ("eval", 7),
    "episode_length": ("length", 6),
    "entropy": ("entropy", 7),
    "kl": ("kl", 7),
    "explained_variance": ("expl.var", 8),
    "updates_per_second": ("updates/s", 9),
    "lag": ("lag", 5),
    "learner_waits": ("waits", 5),
    "steps_per_second": ("steps/s", 7),
}
# Which give way to others where there is no room, the last ones first.
_RANK = ("return", "val_return", "episode_length", "steps_per_second",
         "updates_per_second", "lag", "learner_waits", "entropy", "kl",
         "explained_variance")  # fmt: skip


def figure(value):
    """A number in at most seven characters, most with four digits.

    Example:
    >>> [figure(x) for x in (0.81234, -21.0, 499.96, -1234.5, 2.5e6, float("nan"))]
    ['0.812', '-21.00', '500.0', '-1,234', '2.50e6', '-']
    >>> [figure(x) for x in (0.0, 0.0123456, 0.0076, 0.00076)]
    ['0.000', '0.0123', '0.0076', '7.60e-4']
    """
    value = float(value)
    size = abs(value)
    if math.isnan(value):
        return "-"
    if size >= 999.95 and len(text := f"{value:,.0f}") <= _LONGEST:
        return text
    if size >= 999.95 or 0.0 < size < 0.001:
        texts = (f"{value:.{n}e}" for n in (2, 1, 0))
        texts = [re.sub(r"e\+?(-?)0?", r"e\1", text) for text in texts]
        return next((text for text in texts if len(text) <= _LONGEST), texts[-1])
    steps = ((0.1, 4), (9.9995, 3), (99.995, 2))
    places = next((n for limit, n in steps if size < limit), 1) if size else 3
    return f"{value:.{places}f}"


def compact(count):
    """A whole number in at most five characters.

    Example:
    >>> [compact(n) for n in (128, 20_480, 100_096, 1_500_000, 10**9)]
    ['128', '20.5k', '100k', '1.5M', '1000M']
    """
    for unit, size in (("", 1), ("k", 1e3), ("M", 1e6)):
        if count < 999.5 * size or unit == "M":
            number = count / size
            places = 0 if not unit or number >= 99.95 else 1
            return f"{number:.{places}f}{unit}"
    return None


class Table:
    r"""Rows for epochs, under a header, with the figures that their logs have.

    Args:
        epochs: Integer, the number of the last epoch.
        logs: Dictionary, those of the first epoch to show.

    Attributes:
        header: String.

    Example:
    >>> logs = {"env_steps": 10_240, "return": 69.84, "steps_per_second": 32045.1}
    >>> table = Table(10, logs)
    >>> print(table.header, table.row(1, logs), sep="\n")
    epoch       steps   return  steps/s
     1/10      10,240    69.84   32,045
    """

    def __init__(self, epochs, logs):
        self._epochs = epochs
        self._columns = {
            "epoch": ("epoch", max(5, 2 * len(str(epochs)) + 1)),
            "env_steps": ("steps", 10),
        }
        shown = _that_fit(logs, [width for _, width in self._columns.values()])
        self._columns |= {n: kind for n, kind in _FIGURES.items() if n in shown}
        self.header = self._line({n: text for n, (text, _) in self._columns.items()})

    def row(self, epoch, logs):
        """The line of an epoch; a figure that its logs lack is shown as `-`."""
        cells = {name: _cell(name, logs.get(name, math.nan)) for name in self._columns}
        cells["epoch"] = f"{epoch}/{self._epochs}"
        return self._line(cells)

    def _line(self, cells):
        columns = self._columns.items()
        return _GAP.join(f"{cells[name]:>{width}}" for name, (_, width) in columns)


def _that_fit(logs, widths):
    """Names of the figures of some logs that fit beside columns of these widths."""
    room = WIDTH - sum(widths) - len(_GAP) * (len(widths) - 1)
    shown = set()
    for name in _RANK:
        needs = len(_GAP) + _FIGURES[name][1]
        if name in logs and needs <= room:
            shown.add(name)
            room -= needs
    return shown


def _cell(name, value):
    if name in ("env_steps", "steps_per_second", "updates_per_second"):
        return "-" if math.isnan(value) else f"{value:,.0f}"
    if name == "learner_waits":
        return "-" if math.isnan(value) else f"{value:.0%}"
    return figure(value)
