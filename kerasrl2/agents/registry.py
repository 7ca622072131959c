"""The one registry of algorithms: what all that goes by an algorithm's name reads."""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path

from kerasrl2 import _algorithms
from kerasrl2.agents.agent import Agent

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ACTIONS = ("discrete", "continuous")
_NEEDED = ("for_env", "planned_updates", "adapt_settings")


@dataclasses.dataclass(frozen=True)
class Registration:
    """What is known of an algorithm; see `register`.

    Attributes:
        name: String, as in `kerasrl2 train NAME`.
        agent_class: Subclass of `Agent`.
        title: String, in full, for people.
        actions: Tuple, of `"discrete"` and `"continuous"`.
        quick: Dictionary, keywords of `for_env` that make an agent which learns within
            milliseconds, for tests.
        settings: Tuned settings: None, a dictionary of environment ids to dictionaries
            of keywords of `for_env`, or the absolute `Path` of a YAML file of the same.
        custom_objects: Dictionary of names to classes and functions.
    """

    name: str
    agent_class: type
    title: str
    actions: tuple
    quick: dict
    settings: object
    custom_objects: dict


def register(
    name, title=None, actions=None, quick=None, settings=None, custom_objects=()
):
    """Makes a class an algorithm: a decorator.

    The command line, the zoo, loading, and the tests that every algorithm must pass
    know it from then on. To be found without being imported first, as the command line
    needs it, a class of another package is also an entry point of its own name in the
    group `kerasrl2.algorithms`.

    Args:
        name: String of small letters, digits and `_`.
        title: String, its name in full; None takes the class's name.
        actions: Sequence of `"discrete"` and `"continuous"`, the action spaces it can
            learn in. None takes those of the nearest base class with a registration.
        quick: Dictionary of keywords of `for_env`: a small agent that learns within
            milliseconds. None takes those of the nearest base class.
        settings: Tuned settings, a dictionary of environment ids to dictionaries of
            keywords of `for_env` (and `steps`), or the path of a YAML file that holds
            one, relative to the class's own file. None: there are none.
        custom_objects: Sequence of the classes and functions of your own that its
            agents hold, for loading; the class itself is known.

    Returns:
        A function that takes the class and returns it.

    Raises:
        ValueError: An argument is of another form, the class is no agent, or another
            class has the name.

    Example:
    >>> registration("rainbow").title, registration("rainbow").actions
    ('Rainbow', ('discrete',))
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            "Expected an algorithm's name of small letters, digits and '_'. Received: "
            f"{name!r}"
        )

    def decorate(agent_class):
        _check_class(name, agent_class)
        parent = _nearest(agent_class)
        fields = {
            "actions": _actions(actions, parent),
            "quick": dict(parent.quick if quick is None and parent else quick or {}),
            "settings": _settings(settings, agent_class),
            "custom_objects": {made.__name__: made for made in custom_objects},
        }
        title_ = title or agent_class.__name__
        _store(Registration(name, agent_class, title_, **fields))
        return agent_class

    return decorate


def algorithms():
    """Dictionary of the names of all algorithms to their classes, sorted.

    Imports those of other packages.

    Raises:
        ValueError: A package's algorithm cannot be imported or is no agent.
    """
    return {name: algorithm(name) for name in _algorithms.names()}


def algorithm(name):
    """The class of an algorithm.

    Args:
        name: String.

    Returns:
        Subclass of `Agent`.

    Raises:
        ValueError: There is none of that name, or its package is at fault.
    """
    return registration(name).agent_class


def registration(name):
    """The `Registration` of an algorithm; arguments and errors as of `algorithm`."""
    place = _algorithms.place(name)
    known = _algorithms.REGISTERED.get(name)
    if known is not None and not place.owner:
        return known
    made = _imported(name, place)
    known = _algorithms.REGISTERED.get(name)
    if known is None or known.agent_class is not made:
        others = [n for n, r in _algorithms.REGISTERED.items() if r.agent_class is made]
        if others:
            raise ValueError(
                f"Expected one name for {place}. Received: {name!r} as the entry "
                f"point, {others[0]!r} in `register`."
            )
        try:
            register(name)(made)
        except ValueError as error:
            raise ValueError(f"{error} It is the entry point of {place}.") from None
    return _algorithms.REGISTERED[name]


def learners(actions):
    """Names of the algorithms that learn in an action space, of those imported.

    Args:
        actions: String, `"discrete"` or `"continuous"`.
    """
    known = sorted(_algorithms.REGISTERED.items())
    return [name for name, made in known if actions in made.actions]


def objects_of(config):
    """Classes and functions that a saved algorithm of another package may hold.

    Only the class that the file itself names is looked up, and only among algorithms.

    Args:
        config: Dictionary, the configuration in a saved file.

    Returns:
        Dictionary of names to classes and functions, empty for all else.
    """
    wanted = config.get("module"), config.get("class_name")
    for name, place in _algorithms.places().items():
        if place.owner and (place.module, place.class_name) == wanted:
            found = registration(name)
            made = found.agent_class
            return {**found.custom_objects, made.__name__: made}
    return {}


def _imported(name, place):
    """The object at a place; what goes wrong is told with its distribution."""
    try:
        made = importlib.import_module(place.module)
        for part in place.class_name.split("."):
            made = getattr(made, part)
    except Exception as error:
        raise ValueError(
            f"Expected the algorithm {name!r} as the class {place}. Importing it "
            f"failed with {type(error).__name__}: {error}"
        ) from error
    return made


def _check_class(name, agent_class):
    if not (inspect.isclass(agent_class) and issubclass(agent_class, Agent)):
        raise ValueError(
            f"Expected a subclass of `kerasrl2.agents.Agent` as the algorithm "
            f"{name!r}. Received: {agent_class!r}."
        )
    missing = [method for method in _NEEDED if not hasattr(agent_class, method)]
    if missing:
        raise ValueError(
            f"Expected an algorithm with the class methods {', '.join(_NEEDED)}. "
            f"Received: {agent_class.__name__} without {', '.join(missing)}."
        )


def _store(made):
    """Enters a registration; a class that is defined anew takes its own place."""
    before = _algorithms.REGISTERED.get(made.name)
    if before is not None and _address(before) != _address(made):
        raise ValueError(
            f"Expected a name that no other algorithm has. Received: {made.name!r} for "
            f"{':'.join(_address(made))}, which {':'.join(_address(before))} has."
        )
    _algorithms.REGISTERED[made.name] = made


def _address(made):
    return made.agent_class.__module__, made.agent_class.__qualname__


def _nearest(agent_class):
    """The registration of the nearest base class that has one, or None."""
    known = {r.agent_class: r for r in _algorithms.REGISTERED.values()}
    return next((known[c] for c in agent_class.__mro__[1:] if c in known), None)


def _actions(actions, parent):
    if actions is None:
        return parent.actions if parent else _ACTIONS
    if isinstance(actions, str) or not actions or set(actions) - set(_ACTIONS):
        raise ValueError(
            f"Expected `actions` as a sequence of 'discrete' and 'continuous'. "
            f"Received: {actions!r}"
        )
    return tuple(actions)


def _settings(settings, agent_class):
    if settings is None or isinstance(settings, Mapping):
        return settings
    if not isinstance(settings, str | Path):
        raise ValueError(
            "Expected `settings` as a dictionary or the path of a YAML file. Received: "
            f"{settings!r}"
        )
    return Path(inspect.getfile(agent_class)).resolve().parent / settings
