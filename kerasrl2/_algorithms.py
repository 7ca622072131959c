"""Names of algorithms and where their classes are, without importing any of them.

One of kerasrl2 is a class in `kerasrl2/agents` under `@register("its name")`: that
source is read, not run. One of another package is an entry point of the group
`kerasrl2.algorithms`: `name = "module:Class"`. One of a running program was given to
`agents.register` there.
"""

import ast
import functools
from importlib import metadata, resources
from typing import NamedTuple

from kerasrl2._checks import check_choice

GROUP = "kerasrl2.algorithms"
REGISTERED = {}  # name to `agents.Registration`, of what has been imported


class Place(NamedTuple):
    """Where an algorithm's class is.

    Attributes:
        module: String, full name.
        class_name: String.
        owner: String, name and version of the distribution; empty for kerasrl2's own
            and for a running program's.
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
    """Names of those that come with kerasrl2, sorted."""
    return sorted(_own())


def place(name):
    """Where the class of an algorithm is.

    Raises:
        ValueError: There is none of that name, or more than one.
    """
    candidates = _candidates()
    check_choice("algorithm", name, sorted(candidates))
    first, *others = candidates[name]
    if others:
        raise ValueError(
            f"Expected one algorithm of the name {name!r}. Received: "
            f"{', '.join(map(str, candidates[name]))}. Uninstall or rename all but one."
        )
    return first


def places():
    """Dictionary of names to `Place`, without names that several packages claim."""
    return {n: found[0] for n, found in _candidates().items() if len(found) == 1}


def _candidates():
    """Dictionary of names to lists of different places."""
    found = {name: [place] for name, place in _own().items()}
    for name, place in _of_packages():
        if place not in found.setdefault(name, []):
            found[name].append(place)
    for name, registration in REGISTERED.items():
        made = registration.agent_class
        found.setdefault(name, [Place(made.__module__, made.__qualname__)])
    return found


def _of_packages():
    """Pairs of names and places of all installed packages."""
    for point in metadata.entry_points(group=GROUP):
        owner = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
        module, _, class_name = point.value.partition("[")[0].partition(":")
        yield point.name, Place(module.strip(), class_name.strip(), owner)


@functools.cache
def _own():
    """Dictionary of names to places in `kerasrl2/agents`."""
    found = {}
    for file in resources.files("kerasrl2").joinpath("agents").iterdir():
        if not file.name.endswith(".py"):
            continue
        source = file.read_text(encoding="utf-8")
        if "@register(" in source:
            module = f"kerasrl2.agents.{file.name.removesuffix('.py')}"
            for name, class_name in _registered_in(source):
                found[name] = Place(module, class_name)
    return found


def _registered_in(source):
    """Pairs of names and classes that a source registers by decorator."""
    for node in ast.parse(source).body:
        for mark in getattr(node, "decorator_list", ()):
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "register":
                yield ast.literal_eval(mark.args[0]), node.name
