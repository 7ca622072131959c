"""Names of all algorithms and where their classes are, without importing the classes.

Those of kerasrl2 are classes in `kerasrl2/agents` decorated with `@register("name")`:
the source is parsed, not run. Those of other packages are entry points in the group
`kerasrl2.algorithms`: `name = "module:Class"`. A running program adds its own with
`agents.register`.
"""

import ast
import functools
from importlib import metadata, resources
from typing import NamedTuple

from kerasrl2._checks import check_choice
from kerasrl2._words import algorithm_here

GROUP = "kerasrl2.algorithms"
REGISTERED = {}  # name to `agents.Registration`, of the classes imported so far


class Place(NamedTuple):
    """Where an algorithm's class is.

    Attributes:
        module: String, full name.
        class_name: String.
        owner: String, name and version of the distribution; empty for classes of
            kerasrl2 and of the running program.
    """

    module: str
    class_name: str
    owner: str = ""

    def __str__(self):
        return f"{self.module}:{self.class_name}" + (self.owner and f" of {self.owner}")


def names():
    """Names of all algorithms, sorted."""
    return sorted(_candidates())


def built_in():
    """Names of the algorithms that come with kerasrl2, sorted."""
    return sorted(_own())


def check_name(name, known=None):
    """Raises `ValueError`, with what to write instead, unless there is an algorithm.

    Args:
        name: String.
        known: List of strings, all names; None looks for them.
    """
    known = names() if known is None else known
    here = None if name in known else algorithm_here(name, known)
    if here is not None:
        setting = (
            " in the shell, with the same keyword in Python" if " " in here else ""
        )
        raise ValueError(
            f"Expected `algorithm` to be one of: {', '.join(known)}. Received: "
            f"{name!r}, which is `{here}` here{setting}."
        )
    check_choice("algorithm", name, known)


def place(name):
    """The `Place` of an algorithm's class.

    Raises:
        ValueError: No algorithm, or more than one, has this name.
    """
    candidates = _candidates()
    check_name(name, sorted(candidates))
    first, *others = candidates[name]
    if others:
        raise ValueError(
            f"Expected one algorithm named {name!r}. Received: "
            f"{', '.join(map(str, candidates[name]))}. Uninstall or rename all but one."
        )
    return first


def places():
    """Dictionary of names to `Place`, without names that several packages use."""
    candidates = _candidates().items()
    return {name: places[0] for name, places in candidates if len(places) == 1}


def _candidates():
    """Dictionary of names to lists of different places."""
    candidates = {name: [place] for name, place in _own().items()}
    for name, place in _of_packages():
        if place not in candidates.setdefault(name, []):
            candidates[name].append(place)
    for name, registration in REGISTERED.items():
        cls = registration.agent_class
        candidates.setdefault(name, [Place(cls.__module__, cls.__qualname__)])
    return candidates


def _of_packages():
    """Pairs of names and places of all installed packages."""
    for point in metadata.entry_points(group=GROUP):
        owner = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
        module, _, class_name = point.value.partition("[")[0].partition(":")
        yield point.name, Place(module.strip(), class_name.strip(), owner)


@functools.cache
def _own():
    """Dictionary of names to places in `kerasrl2/agents`."""
    own = {}
    for file in resources.files("kerasrl2").joinpath("agents").iterdir():
        if not file.name.endswith(".py"):
            continue
        source = file.read_text(encoding="utf-8")
        if "@register(" in source:
            module = f"kerasrl2.agents.{file.name.removesuffix('.py')}"
            for name, class_name in _registered_in(source):
                own[name] = Place(module, class_name)
    return own


def _registered_in(source):
    """Pairs of algorithm and class name that a source registers by decorator."""
    for node in ast.parse(source).body:
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "register":
                yield ast.literal_eval(call.args[0]), node.name
