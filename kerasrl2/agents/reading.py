"""Observations as callers give them to `act`: checked as training checks them."""

import numpy as np

from kerasrl2.layers.specs import NestedSpec

_KINDS = {"f": "fiub", "i": "iub", "u": "iub", "b": "b"}  # what can be cast to what


def reader_of(spec):
    """An `ObservationReader` or `NestReader` for an agent's observations."""
    return (NestReader if isinstance(spec, NestedSpec) else ObservationReader)(spec)


class NestReader:
    """Turns one nested observation, or a batch, into a batch, entry by entry.

    Entries that the agent does not know are refused, but for text.

    Args:
        spec: `NestedSpec`.
    """

    def __init__(self, spec):
        self._spec, self._named = spec, isinstance(spec.entries, dict)
        items = spec.entries.items() if self._named else enumerate(spec.entries)
        self._readers = {key: reader_of(entry) for key, entry in items}

    def __call__(self, observation):
        """`(batch, single)`: a nest of `[B, ...]`, and whether it was one observation.

        Raises:
            ValueError: It does not fit the spec.
        """
        self._check_keys(observation)
        batch, alone = {}, {}
        for key, reader in self._readers.items():
            try:
                batch[key], alone[key] = reader(observation[key])
            except ValueError as error:
                raise ValueError(f"Entry {key!r}: {error}") from None
        if len({*alone.values()}) > 1:
            raise ValueError(
                f"Expected one observation, or a batch of them. Received: a batch of "
                f"{[key for key in alone if not alone[key]]} and a single "
                f"{[key for key in alone if alone[key]]}"
            )
        self._check_rows(batch)
        single = next(iter(alone.values()))
        return batch if self._named else tuple(batch.values()), single

    def _check_keys(self, observation):
        if self._named:
            fits = hasattr(observation, "keys")
            missing = [k for k in self._readers if not fits or k not in observation]
            more = [
                key
                for key in (observation if fits else ())
                if key not in self._readers and not _is_text(observation[key])
            ]
            fits = fits and not missing and not more
            wanted = f"a dictionary with the entries {list(self._readers)}"
            received = (
                f"entries {list(observation)}"
                if hasattr(observation, "keys")
                else f"a {type(observation).__name__}"
            )
        else:
            fits = isinstance(observation, list | tuple)
            fits = fits and len(observation) == len(self._readers)
            wanted, received = (
                f"a tuple of {len(self._readers)}",
                f"{observation!r:.100}",
            )
        if not fits:
            raise ValueError(
                f"Expected an observation as {wanted}. Received: {received}"
            )

    def _check_rows(self, batch):
        rows = {key: _rows(part) for key, part in batch.items()}
        if len({*rows.values()}) > 1:
            raise ValueError(
                f"Expected as many rows in each entry of a batch. Received: {rows}"
            )


def _rows(part):
    if isinstance(part, dict | tuple):
        parts = part.values() if isinstance(part, dict) else part
        return _rows(next(iter(parts)))
    return part.shape[0]


def _is_text(value):
    return np.asarray(value).dtype.kind in "UOS"


class ObservationReader:
    """Turns one observation, or a batch, into a batch of the dtype the agent knows.

    Refused is what training refuses in an environment: other shapes, dtypes that do not
    fit (fractions for integers), integers the dtype or a `Discrete` space does not
    hold, NaN and infinity. Values a little outside of a `Box` are taken as they are;
    of pictures, those that are on another scale are refused.

    Args:
        spec: `ObservationSpec`.
    """

    def __init__(self, spec):
        self._spec, self._shape, self._rank = spec, spec.shape, len(spec.shape)
        self._dtype = np.dtype(spec.dtype)
        self._floating = self._dtype.kind == "f"
        self._holds = np.iinfo(self._dtype) if self._dtype.kind in "iu" else None
        self._limits, self._of_each = _limits(spec), _limits_of_each(spec)
        if self._holds is not None and self._limits is not None:
            low, high = self._limits
            if low <= self._holds.min and self._holds.max <= high:
                self._limits = None  # the dtype sees to it

    def __call__(self, observation):
        """`(batch, single)`: `[B, *shape]`, and whether it was one observation.

        Raises:
            ValueError: It does not fit the spec.
        """
        if type(observation) is not np.ndarray:
            observation = self._as_array(observation)
        if observation.dtype is not self._dtype:
            observation = self._cast(observation)
        single = observation.ndim == self._rank
        batch = observation[None] if single else observation
        if batch.shape[1:] != self._shape:
            raise ValueError(
                f"Expected observations of shape {self._shape}, or a batch of "
                f"them. Received: {observation.shape}"
            )
        if self._limits is not None and batch.size:
            low, high = _extremes(batch)  # NaN, if there is one
            if not (self._limits[0] <= low and high <= self._limits[1]):
                self._check_finite(batch)
                raise self._outside(low, high)
        elif self._of_each is not None:
            self._check_each(batch)
        elif self._floating and not np.isfinite(batch).all():
            self._check_finite(batch)
        return batch, single

    def _as_array(self, observation):
        try:
            return np.asarray(observation)
        except Exception:
            raise ValueError(
                f"Expected observations of {self._spec} as an array. Received: "
                f"{observation!r:.100}"
            ) from None

    def _cast(self, observation):
        if observation.dtype == self._dtype:
            return observation
        kind = observation.dtype.kind
        if kind not in _KINDS[self._dtype.kind]:
            raise self._refused(observation)
        if self._holds is not None and observation.size:
            low, high = _extremes(observation)
            if low < self._holds.min or high > self._holds.max:
                raise self._refused(observation)
        try:
            return observation.astype(self._dtype)
        except RuntimeWarning:  # overflow, where warnings are errors; else infinity
            raise self._refused(observation) from None

    def _refused(self, observation):
        received = f"dtype {observation.dtype.name}"
        if observation.dtype.kind in "fiub" and observation.size:
            received += f", from {observation.min()} to {observation.max()}"
        return ValueError(
            f"Expected observations as the environment gives them, of {self._spec}. "
            f"Received: {received}. Nothing is rounded or wrapped around: give what "
            "`reset` and `step` return."
        )

    def _check_finite(self, batch):
        finite = np.isfinite(batch)
        if not finite.all():
            raise ValueError(
                f"Expected finite observations of {self._spec}. Received: one with "
                f"{batch[~finite][0]}. Find the division by zero or overflow that made "
                "it."
            )

    def _check_each(self, batch):
        low, high = self._of_each
        outside = (batch < low) | (batch > high)
        if outside.any():
            row = batch[outside.reshape(len(batch), -1).any(axis=1)][0]
            raise ValueError(
                f"Expected observations from {low.tolist()} to {high.tolist()}. "
                f"Received: {row.tolist()}. The environment has no such observation."
            )

    def _outside(self, low, high):
        if self._spec.num_classes is not None:
            expected = f"from {self._limits[0]} to {self._limits[1]}"
            advice = "The environment has no such observation."
        else:
            expected = f"of {self._spec}"
            advice = "They are on another scale: give what `reset` and `step` return."
        return ValueError(
            f"Expected observations {expected}. Received: values from {low} to {high}. "
            f"{advice}"
        )


def _limits(spec):
    """The smallest and largest value that is no mistake, or None."""
    if isinstance(spec.num_classes, list):
        return None
    if spec.num_classes is not None:
        return spec.start, spec.start + spec.num_classes - 1
    if len(spec.shape) < 3 or spec.low is None or spec.high is None:
        return None
    low, high = float(np.min(spec.low)), float(np.max(spec.high))
    return 2.0 * low - high, 2.0 * high - low


def _limits_of_each(spec):
    """The same of each entry of a `MultiDiscrete` space, as arrays, else None."""
    if not isinstance(spec.num_classes, list):
        return None
    low = np.asarray(spec.start)
    return low, low + np.asarray(spec.num_classes) - 1


def _extremes(array):
    if array.size == 1:
        value = array.item()
        return value, value
    return array.min(), array.max()
