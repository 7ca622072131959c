"""The kinds of values that a keyword takes on the command line."""

import collections.abc
import inspect
import numbers
import types
import typing
from collections.abc import Callable
from typing import NamedTuple

_UNIONS = (typing.Union, types.UnionType)
_SEQUENCES = (list, tuple, collections.abc.Sequence)


class Kind(NamedTuple):
    """One kind of values.

    Attributes:
        takes: Function from a value, as YAML reads it, to Boolean.
        word: String, its name in messages; empty if messages leave it out.
    """

    takes: Callable
    word: str


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


TRUTH = Kind(lambda value: isinstance(value, bool), "true or false")
INTEGER = Kind(lambda value: type(value) is int, "an integer")
NUMBER = Kind(_is_number, "a number")
SCHEDULE = Kind(lambda v: isinstance(v, str) and v.startswith("linear"), "")
WORD = Kind(lambda value: isinstance(value, str), "a word")
NULL = Kind(lambda value: value is None, "null")
_PLAIN = {
    bool: [TRUTH],
    int: [INTEGER],
    float: [NUMBER, SCHEDULE],
    str: [WORD],
    None: [NULL],
    type(None): [NULL],
}


def declared_kinds(annotation):
    """Kinds that an annotation names; empty if it names none of those in this file.

    Example:
    >>> [kind.word for kind in declared_kinds(int | typing.Literal["auto"])]
    ['an integer', "'auto'"]
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is inspect.Parameter.empty:
        return []
    if origin in _UNIONS:
        return [kind for part in inner for kind in declared_kinds(part)]
    if origin is typing.Literal:
        return [_exactly(value) for value in inner]
    if (origin or annotation) in _SEQUENCES:
        return [_list_of([kind for part in inner for kind in declared_kinds(part)])]
    try:
        return _PLAIN.get(annotation, [])
    except TypeError:  # an annotation that cannot be hashed
        return []


def kinds_like(default):
    """Kinds that fit a default, for keywords without an annotation."""
    if isinstance(default, bool):
        return [TRUTH]
    if default == "auto":
        return [NUMBER, WORD, _unnamed(TRUTH)]
    if isinstance(default, str):
        return [WORD, _unnamed(TRUTH)]  # YAML reads some words as truth values
    if isinstance(default, tuple):
        floats = any(isinstance(number, float) for number in default)
        noun = "numbers" if floats else "integers"
        kind = _list_of([NUMBER if floats else INTEGER])
        return [kind._replace(word=f"a list of {noun} such as {list(default)}")]
    return [NUMBER, SCHEDULE, _unnamed(NULL)]


def _exactly(expected):
    def takes(value):
        return type(value) is type(expected) and value == expected

    return Kind(takes, repr(expected))


def _list_of(kinds):
    def takes(value):
        return isinstance(value, list) and all(
            any(kind.takes(item) for kind in kinds or [NUMBER, WORD]) for item in value
        )

    return Kind(takes, "a list")


def _unnamed(kind):
    return kind._replace(word="")
