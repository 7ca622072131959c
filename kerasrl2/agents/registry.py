"""The registry of algorithms: finds their classes and settings by name."""

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
    """An entry of the registry; see `register`.

    Attributes:
        name: String, as in `kerasrl2 train NAME`.
        agent_class: Subclass of `Agent`.
        title: String, the full name.
        actions: Tuple of `"discrete"`, `"continuous"` or both.
        quick: Dictionary of keywords of `for_env` for tests: a small agent whose
            updates take milliseconds.
        settings: Tuned settings: None, a dictionary of environment ids to dictionaries
            of keywords of `for_env`, or the absolute `Path` of a YAML file with these.
        custom_objects: Dictionary of names to classes and functions.

    Example:
    >>> found = registration("dqn")
    >>> found.title, found.actions
    ('Deep Q-networks', ('discrete',))
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
    """Decorator that registers an agent class as an algorithm.

    It is then available to the command line, the zoo, loading, and the tests that every
    algorithm must pass. A class of another package also needs an entry point of the
    same name in the group `kerasrl2.algorithms`, so that the command line finds it
    without importing it first.

    Args:
        name: String of lowercase letters, digits and `_`.
        title: String, the full name; None takes the name of the class.
        actions: Sequence of `"discrete"` and `"continuous"`, the action spaces it can
            learn in. None takes those of the nearest registered base class.
        quick: Dictionary of keywords of `for_env` for tests: a small agent whose
            updates take milliseconds. None takes those of the nearest registered base.
        settings: Tuned settings, a dictionary of environment ids to dictionaries of
            keywords of `for_env` (and `steps`), or the path of a YAML file with one,
            relative to the file of the class. None: there are none.
        custom_objects: Sequence of your own classes and functions that the agents use,
            for loading; the class itself need not be listed.

    Returns:
        The decorator.

    Raises:
        ValueError: An argument is invalid, the class is not an agent, or another class
            has the name.

    Example:
    >>> registration("rainbow").title, registration("rainbow").actions
    ('Rainbow', ('discrete',))
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            "Expected an algorithm's name of lowercase letters, digits and '_'. "
            f"Received: {name!r}"
        )

    def decorate(agent_class):
        _check_class(name, agent_class)
        parent = _nearest(agent_class)
        fields = {
            "actions": _actions(actions, parent),
            "quick": dict(parent.quick if quick is None and parent else quick or {}),
            "settings": _settings(settings, agent_class),
            "custom_objects": {value.__name__: value for value in custom_objects},
        }
        title_ = title or agent_class.__name__
        _store(Registration(name, agent_class, title_, **fields))
        return agent_class

    return decorate


def algorithms():
    """Sorted dictionary of the names of all algorithms to their classes.

    Imports the classes, also those of other packages.

    Raises:
        ValueError: An algorithm of a package cannot be imported or is not an agent.
    """
    return {name: algorithm(name) for name in _algorithms.names()}


def algorithm(name):
    """The class of an algorithm.

    Args:
        name: String.

    Returns:
        Subclass of `Agent`.

    Raises:
        ValueError: No algorithm has this name, or its package cannot be used.
    """
    return registration(name).agent_class


def registration(name):
    """The `Registration` of an algorithm; arguments and errors as of `algorithm`."""
    place = _algorithms.place(name)
    entry = _algorithms.REGISTERED.get(name)
    if entry is not None and not place.owner:
        return entry
    cls = _imported(name, place)
    entry = _algorithms.REGISTERED.get(name)
    if entry is None or entry.agent_class is not cls:
        others = [n for n, r in _algorithms.REGISTERED.items() if r.agent_class is cls]
        if others:
            raise ValueError(
                f"Expected one name for {place}. Received: {name!r} as the entry "
                f"point, {others[0]!r} in `register`."
            )
        try:
            register(name)(cls)
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
    """Classes and functions that a saved agent of another package may use.

    Only the class that the file itself names is looked up, and only among algorithms.

    Args:
        config: Dictionary, the configuration in a saved file.

    Returns:
        Dictionary of names to classes and functions, empty for other agents.
    """
    wanted = config.get("module"), config.get("class_name")
    for name, place in _algorithms.places().items():
        if place.owner and (place.module, place.class_name) == wanted:
            entry = registration(name)
            cls = entry.agent_class
            return {**entry.custom_objects, cls.__name__: cls}
    return {}


def _imported(name, place):
    """The object at a `Place`; errors name its distribution."""
    try:
        value = importlib.import_module(place.module)
        for part in place.class_name.split("."):
            value = getattr(value, part)
    except Exception as error:
        raise ValueError(
            f"Expected the algorithm {name!r} as the class {place}. Importing it "
            f"failed with {type(error).__name__}: {error}"
        ) from error
    return value


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


def _store(entry):
    """Adds a registration; a class that is defined again replaces itself."""
    before = _algorithms.REGISTERED.get(entry.name)
    if before is not None and _address(before) != _address(entry):
        raise ValueError(
            f"Expected a name that no other algorithm has. Received: {entry.name!r} "
            f"for {':'.join(_address(entry))}, which {':'.join(_address(before))} has."
        )
    _algorithms.REGISTERED[entry.name] = entry


def _address(entry):
    return entry.agent_class.__module__, entry.agent_class.__qualname__


def _nearest(agent_class):
    """The registration of the nearest registered base class, or None."""
    entries = {r.agent_class: r for r in _algorithms.REGISTERED.values()}
    return next((entries[c] for c in agent_class.__mro__[1:] if c in entries), None)


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
