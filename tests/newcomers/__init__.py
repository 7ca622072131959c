"""Algorithms that know nothing of the package but its contract, as a user's would."""

from kerasrl2 import _algorithms

_FOUND = {}  # their entries in the registry, while they are not in it


def forget():
    """Takes them out of the registry, where importing them has put them."""
    for name, entry in list(_algorithms.REGISTERED.items()):
        if entry.agent_class.__module__.startswith(f"{__name__}."):
            _FOUND[name] = _algorithms.REGISTERED.pop(name)


def remember():
    """Puts them back."""
    _algorithms.REGISTERED.update(_FOUND)
