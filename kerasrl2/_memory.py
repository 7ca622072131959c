"""How much memory there is, and refusing what does not fit."""

import os
from pathlib import Path


def check_room(name, value, nbytes, what):
    """Raises `ValueError` if `nbytes` are more than there is.

    Args:
        name: String, the argument that memory grows with.
        value: Integer, what it is.
        nbytes: Number, the least that will be allocated.
        what: String, what for.
    """
    free = available_memory()
    if free is None or nbytes <= free:
        return
    raise ValueError(
        f"Expected `{name}` that fits into memory. Received: {name}={value:,}: {what} "
        f"takes {readable(nbytes)} or more, but only {readable(free)} are free. Choose "
        f"at most {int(0.9 * free / nbytes * value):,}."
    )


def readable(nbytes):
    """Bytes as text.

    Example:
    >>> readable(7_205), readable(3e9), readable(5)
    ('7.2 kB', '3.0 GB', '5 B')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes:.0f} B"


def available_memory():
    """Free bytes of this machine or container; None where nothing tells."""
    free = []
    try:
        meminfo = Path("/proc/meminfo").read_text()
        fields = dict(line.split(":") for line in meminfo.splitlines())
        free.append(1024 * int(fields["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        try:
            free.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, OSError, ValueError):
            return None
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        free.append(limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no limit, or no cgroup
    return max(min(free), 0)
