"""Codecs between values of any `gymnasium.Space` and batched arrays."""

import functools
import operator
from collections.abc import Mapping

import numpy as np
from gymnasium import spaces

from kerasrl2.envs._interface import check_has_space
from kerasrl2.envs._leaves import (
    BoxCodec,
    DiscreteCodec,
    IntegersCodec,
    MalformedError,
    subscript,
)


class _NestCodec:
    """What the codecs of dictionaries and tuples share.

    Args:
        entries: Dictionary of keys to codecs, in the order of `tf.nest.flatten`.
    """

    def __init__(self, entries):
        self._entries = tuple(entries.items())
        self._keys = frozenset(entries)

    @property
    def structure(self):
        """Nest like the values, of the codecs of its arrays."""
        return self._nest({key: entry.structure for key, entry in self._entries})

    def empty(self, *axes):
        """Nest of arrays `[*axes, ...]`, uninitialised."""
        return self._nest({key: entry.empty(*axes) for key, entry in self._entries})

    def put(self, batch, index, value):
        """Writes one environment's value into row `index` of the arrays of `batch`."""
        self._check(value)
        for key, entry in self._entries:
            try:
                entry.put(batch[key], index, value[key])
            except MalformedError as error:
                raise error.within(key) from None

    def put_all(self, batch, values):
        """Writes the values of all environments, a nest of `[N, ...]`, into `batch`."""
        self._check(values)
        for key, entry in self._entries:
            try:
                entry.put_all(batch[key], values[key])
            except MalformedError as error:
                raise error.within(key) from None

    def halves(self, batch):
        """The two nests `[N, ...]` of a nest `[2, N, ...]`."""
        pairs = [(key, entry.halves(batch[key])) for key, entry in self._entries]
        return tuple(self._nest({key: pair[i] for key, pair in pairs}) for i in (0, 1))

    def leaves(self, batch):
        """The arrays of a nest in the order of `tf.nest.flatten`."""
        found = []
        for key, entry in self._entries:
            found += entry.leaves(batch[key])
        return found


class DictCodec(_NestCodec):
    """Dictionaries.

    Args:
        entries: Dictionary of names to codecs, in the order of the names.
        left_out: Collection of names that values may have, too.
    """

    def __init__(self, entries, left_out=()):
        super().__init__(entries)
        self._left_out = frozenset(left_out)
        self._nest = dict

    def _check(self, value):
        if not isinstance(value, Mapping):
            raise MalformedError(
                f"Expected a dictionary with {self._named(self._keys)}. "
                f"Received: {type(value).__name__}"
            )
        if value.keys() == self._keys:
            return
        missing = self._keys - value.keys()
        surplus = value.keys() - self._keys - self._left_out
        if missing or surplus:
            raise MalformedError(
                f"Expected a dictionary with {self._named(self._keys)}. Received: "
                + "one without " * bool(missing)
                + self._named(missing)
                + " and " * bool(missing and surplus)
                + "one that also has " * bool(surplus)
                + self._named(surplus)
            )

    @staticmethod
    def _named(keys):
        return ", ".join(repr(key) for key in sorted(keys, key=str))


class TupleCodec(_NestCodec):
    """Tuples; also lists as values.

    Args:
        entries: Dictionary of 0, 1, ... to codecs.
    """

    def _nest(self, entries):
        return tuple(entries.values())

    def _check(self, value):
        if not isinstance(value, tuple | list) or len(value) != len(self._entries):
            length = f" of {len(value)}" if isinstance(value, tuple | list) else ""
            raise MalformedError(
                f"Expected a tuple of {len(self._entries)}. "
                f"Received: {type(value).__name__}{length}"
            )


_OBSERVATIONS = {
    spaces.Box: BoxCodec,
    spaces.Discrete: DiscreteCodec,
    spaces.MultiBinary: lambda space: IntegersCodec(space, np.int8),
    spaces.MultiDiscrete: IntegersCodec,
}
_ACTIONS = {
    spaces.Box: BoxCodec,
    spaces.Discrete: DiscreteCodec,
    spaces.MultiDiscrete: IntegersCodec,
    spaces.MultiBinary: IntegersCodec,
}
_KINDS = "Box, Discrete, MultiBinary, MultiDiscrete, or a Dict or Tuple of these"


def codec(space, role):
    """The codec of a space.

    An object with `structure`, `empty`, `put`, `put_all`, `halves` and `leaves`; that
    of a space of one array also has `shape` and `dtype`, and for actions `take`.

    Args:
        space: `gymnasium.Space`.
        role: String, `"observation"` or `"action"`, for the message.

    Raises:
        ValueError: The space, or an entry of it, which the message names, is of another
            type or holds nothing.

    Example:
    >>> codec(spaces.Box(0.0, 1.0, [3], np.float64), "observation").dtype
    dtype('float32')
    >>> pair = spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(4)])
    >>> [array.shape for array in codec(pair, "observation").empty(8)]
    [(8,), (8, 4)]
    """
    if role == "observation":
        return _of_observation(space)
    for kind, build in _ACTIONS.items():
        if isinstance(space, kind):
            return build(space)
    supported = " or ".join(kind.__name__ for kind in _ACTIONS)
    raise ValueError(
        f"Expected actions in a space of type {supported}. Received: {space}. A "
        "wrapper can convert it: gymnasium.wrappers.TransformAction."
    )


def _of_observation(space, *keys):
    path = f"observation_space{subscript(*keys)}"
    if isinstance(space, spaces.Dict):
        names = _names(space, path)
        entries = {name: _of_observation(space[name], *keys, name) for name in names}
        return DictCodec(entries, left_out=space.keys() - entries.keys())
    if isinstance(space, spaces.Tuple):
        if not len(space):
            raise _unusable(f"at least one entry in `{path}`", space)
        return TupleCodec(
            {i: _of_observation(entry, *keys, i) for i, entry in enumerate(space)}
        )
    for kind, build in _OBSERVATIONS.items():
        if isinstance(space, kind):
            if 0 in space.shape:
                raise _unusable(f"`{path}` to hold numbers", space)
            return build(space)
    raise _unusable(f"`{path}` of type {_KINDS}", space)


def _names(space, path):
    """The sorted names of the entries of a `Dict` that agents see."""
    others = [name for name in space if not isinstance(name, str)]
    if others:
        raise _unusable(f"strings as names in `{path}`", f"{others[0]!r} in {space}")
    names = sorted(name for name in space if not is_text(space[name]))
    if not names:
        raise _unusable(f"at least one entry in `{path}` that is no text", space)
    return names


def _unusable(expected, space):
    return ValueError(
        f"Expected {expected}. Received: {space}. A wrapper can convert it, or leave "
        "it out: gymnasium.wrappers.TransformObservation, FilterObservation."
    )


def is_text(space):
    """Whether a space is one of strings: `Text`, or MiniGrid's own `MissionSpace`."""
    return space.dtype is not None and space.dtype.kind == "U"


def without_text(space):
    """An observation space as agents see it: without the texts in dictionaries.

    Networks take numbers. A text in a `Dict`, such as MiniGrid's `"mission"`, is left
    out; if it matters, `gymnasium.wrappers.TransformObservation` can encode it.
    """
    if isinstance(space, spaces.Dict):
        names = [name for name in space if not is_text(space[name])]
        return spaces.Dict({name: without_text(space[name]) for name in names})
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple(map(without_text, space))
    return space


def texts(space, *keys):
    """What `without_text` leaves out, such as `observation_space["mission"]`."""
    if isinstance(space, spaces.Dict):
        names = list(space)
    elif isinstance(space, spaces.Tuple):
        names = range(len(space))
    else:
        return [f"observation_space{subscript(*keys)}"] if is_text(space) else []
    return [text for name in names for text in texts(space[name], *keys, name)]


def leaf_spaces(space, *keys):
    """`(keys, space)` for each array of an observation that agents see.

    `keys` are those of the dictionaries and tuples around it; none for a space of one
    array.
    """
    if isinstance(space, spaces.Dict):
        names = [name for name in space if not is_text(space[name])]
    elif isinstance(space, spaces.Tuple):
        names = range(len(space))
    else:
        return [(keys, space)]
    return [leaf for name in names for leaf in leaf_spaces(space[name], *keys, name)]


def entry_at(nest, keys):
    """The entry of a nest with the keys that `leaf_spaces` gives."""
    return functools.reduce(operator.getitem, keys, nest)


def check_equal_spaces(envs):
    """Raises `ValueError` unless all environments have the spaces of the first."""
    for env in envs:
        for space in ("observation_space", "action_space"):
            check_has_space(env, space)
            if getattr(env, space) != getattr(envs[0], space):
                raise ValueError(
                    f"Expected environments with one `{space}`. Received: "
                    f"{getattr(envs[0], space)} and {getattr(env, space)}"
                )
