"""The findings of the environment checker."""

from typing import NamedTuple

SEVERITIES = "error", "warning", "note"


class Finding(NamedTuple):
    """A fault of an environment.

    Attributes:
        severity: `"error"`: training stops or learns nonsense; `"warning"`: training
            runs, but likely not as intended; `"note"`: for information.
        what: String, what is wrong.
        where: String, where it was first seen, such as `"step 3, action 1"`; empty if
            it belongs to no step.
        remedy: String, how to fix it.

    Example:
    >>> finding = Finding("warning", "rewards up to 1e6", "step 3", "Scale them.")
    >>> finding.severity, finding.remedy
    ('warning', 'Scale them.')
    """

    severity: str
    what: str
    where: str
    remedy: str


class Report:
    """Collects findings, the first of each kind."""

    def __init__(self):
        self._findings = {}

    def error(self, what, where, remedy, kind=None):
        """Adds a fault, unless there is one of this `kind` (None: `what`) already."""
        self._add("error", what, where, remedy, kind)

    def warning(self, what, where, remedy, kind=None):
        """As `error`, for a fault with which training runs."""
        self._add("warning", what, where, remedy, kind)

    def note(self, what, where, remedy, kind=None):
        """As `error`, for information that needs no action."""
        self._add("note", what, where, remedy, kind)

    def has_errors(self):
        """Whether there is a fault that stops training."""
        return any(x.severity == "error" for x in self._findings.values())

    def sorted(self):
        """List of `Finding`, errors first, otherwise in the order they were added."""
        return sorted(
            self._findings.values(), key=lambda x: SEVERITIES.index(x.severity)
        )

    def _add(self, severity, what, where, remedy, kind):
        finding = Finding(severity, what, where, remedy)
        self._findings.setdefault((severity, kind or what), finding)


def described(error):
    """An exception as one line, even if its `__str__` raises."""
    try:
        text = " ".join(str(error).split())
    except Exception as second:
        text = f"(its text raised {type(second).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
