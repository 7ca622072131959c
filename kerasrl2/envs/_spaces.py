"""Codecs between values of a `gymnasium.Space` and batched arrays."""

import operator

import numpy as np
from gymnasium import spaces

from kerasrl2.envs._interface import check_has_space


class MalformedError(ValueError):
    """A value that its space or the Gymnasium interface forbids."""


class BoxCodec:
    """Arrays of one shape. Floats become float32, integers keep their dtype."""

    def __init__(self, space):
        self.shape, self._native = space.shape, space.dtype
        floating = np.issubdtype(space.dtype, np.floating)
        self.dtype = np.dtype(np.float32) if floating else space.dtype

    def empty(self, *axes):
        """`[*axes, ...]`, uninitialised."""
        return np.empty((*axes, *self.shape), self.dtype)

    def put(self, batch, index, value):
        """Writes one environment's value into row `index` of `batch`."""
        if type(value) is not np.ndarray:
            value = np.asarray(value)
        if value.shape != self.shape or value.dtype is not self.dtype:
            self._check(value)
        batch[index] = value

    def take(self, batch):
        """Actions for the environments: a copy that they may keep and change."""
        return np.array(batch, self._native)

    def _check(self, value):
        convertible = np.can_cast(value.dtype, self.dtype, "same_kind")
        if convertible and value.size and self.dtype.kind in "iu":  # no overflow
            limits = np.iinfo(self.dtype)
            convertible = limits.min <= value.min() and value.max() <= limits.max
        if value.shape != self.shape or not convertible:
            raise MalformedError(
                f"Expected an array of shape {self.shape} and dtype {self._native}. "
                f"Received: shape {value.shape}, dtype {value.dtype}"
            )


class DiscreteCodec:
    """Integers from `start` to `start + n - 1`, unchanged, in int32."""

    shape = ()
    dtype = np.dtype(np.int32)

    def __init__(self, space):
        self._low, self._high = int(space.start), int(space.start + space.n) - 1

    def empty(self, *axes):
        """`[*axes]`, uninitialised."""
        return np.empty(axes, self.dtype)

    def put(self, batch, index, value):
        """Writes one environment's value into row `index` of `batch`."""
        batch[index] = self._checked(value)

    def take(self, batch):
        """Actions for the environments: int64, like the space's own samples."""
        values = batch.tolist()
        if not self._low <= min(values) <= max(values) <= self._high:
            for value in values:
                self._checked(value)
        return batch.astype(np.int64)

    def _checked(self, value):
        try:
            number = operator.index(value)
        except TypeError:
            number = None
        if number is None or not self._low <= number <= self._high:
            raise MalformedError(
                f"Expected an integer in [{self._low}, {self._high}]. "
                f"Received: {value!r}"
            )
        return number


class IntegersCodec:
    """Arrays of integers, each in a range of its own, in int32: actions."""

    dtype = np.dtype(np.int32)

    def __init__(self, space):
        self.shape, self._native, self._space = space.shape, space.dtype, space
        sizes = getattr(space, "nvec", np.full(space.shape, 2))
        self._low = np.asarray(getattr(space, "start", np.zeros(space.shape)), np.int64)
        self._high = self._low + sizes - 1

    def empty(self, *axes):
        """`[*axes, ...]`, uninitialised."""
        return np.empty((*axes, *self.shape), self.dtype)

    def put(self, batch, index, value):
        """Writes one environment's value into row `index` of `batch`."""
        batch[index] = self._checked(np.asarray(value))

    def take(self, batch):
        """Values to hand to the environments: a copy they may keep and change."""
        if np.any(batch < self._low) or np.any(batch > self._high):
            for value in batch:
                self._checked(value)
        return batch.astype(self._native)

    def _checked(self, value):
        fits = value.shape == self.shape and value.dtype.kind in "iu"
        if not fits or np.any(value < self._low) or np.any(value > self._high):
            raise MalformedError(
                f"Expected integers in {self._space}. Received: {value.tolist()!r}"
            )
        return value


CODECS = {
    "observation": {spaces.Box: BoxCodec, spaces.Discrete: DiscreteCodec},
    "action": {
        spaces.Box: BoxCodec,
        spaces.Discrete: DiscreteCodec,
        spaces.MultiDiscrete: IntegersCodec,
        spaces.MultiBinary: IntegersCodec,
    },
}


def codec(space, role):
    """The codec of a space: an object with `shape`, `dtype`, `empty`, `put`, `take`.

    Args:
        space: `gymnasium.Space`.
        role: String, `"observation"` or `"action"`, for the message.

    Example:
    >>> codec(spaces.Box(0.0, 1.0, [3], np.float64), "observation").dtype
    dtype('float32')
    """
    for kind, build in CODECS[role].items():
        if isinstance(space, kind):
            return build(space)
    supported = " or ".join(kind.__name__ for kind in CODECS[role])
    raise ValueError(
        f"Expected {role}s in a space of type {supported}. Received: {space}. "
        "A wrapper can convert it, for instance gymnasium.wrappers.FlattenObservation "
        "or gymnasium.wrappers.TransformAction."
    )


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
