"""Codecs between values of a `gymnasium.Space` of one array and batched arrays."""

import operator

import numpy as np

_MANY = 32  # numbers from which NumPy finds the least faster than Python


class MalformedError(ValueError):
    """A value that its space or the Gymnasium interface forbids.

    Args:
        text: String.
        entry: String, which one of an observation it is, such as `'["camera"][0]'`.
    """

    def __init__(self, text, entry=""):
        super().__init__(f"observation{entry}: {text}" if entry else text)
        self._text, self._entry = text, entry

    def within(self, key):
        """The same error, seen from the dictionary or tuple that holds the value."""
        return MalformedError(self._text, subscript(key) + self._entry)


def subscript(*keys):
    """The keys of an entry as text: `'["camera"][0]'`; empty without keys."""
    return "".join(f'["{k}"]' if isinstance(k, str) else f"[{k}]" for k in keys)


class Leaf:
    """What the codecs of one array share; as a nest, that is its only leaf.

    Attributes:
        shape: Tuple, of one environment's value.
        dtype: `numpy.dtype` of batches.
    """

    @property
    def structure(self):
        """Nest like the values, of the codecs of its arrays."""
        return self

    def empty(self, *axes):
        """`[*axes, ...]`, uninitialised."""
        return np.empty((*axes, *self.shape), self.dtype)

    def put(self, batch, index, value):
        """Writes one environment's value into row `index` of `batch`."""
        raise NotImplementedError

    def put_all(self, batch, values):
        """Writes the values of all environments, `[N, ...]`, into `batch`."""
        values = as_array(values)
        if values.shape != batch.shape:
            raise MalformedError(
                f"Expected an array of shape {batch.shape}: {len(batch)} environments "
                f"with {self.shape} each. Received: shape {values.shape}"
            )
        inside = (values >= self._low) & (values <= self._high)
        if values.dtype.kind not in "iub" or not inside.all():
            for index, value in enumerate(values):
                self.put(batch, index, value)  # tells which
        batch[...] = values

    def halves(self, batch):
        """The two nests `[N, ...]` of a nest `[2, N, ...]`."""
        return batch

    def leaves(self, batch):
        """The arrays of a nest in the order of `tf.nest.flatten`."""
        return (batch,)


class BoxCodec(Leaf):
    """Arrays of one shape. Floats become float32, integers keep their dtype."""

    def __init__(self, space):
        self.shape, self._native = space.shape, space.dtype
        floating = np.issubdtype(space.dtype, np.floating)
        self.dtype = np.dtype(np.float32) if floating else space.dtype

    def put(self, batch, index, value):
        if type(value) is not np.ndarray:
            value = as_array(value)
        if value.shape != self.shape or value.dtype is not self.dtype:
            self._check(value, self.shape)
        batch[index] = value

    def put_all(self, batch, values):
        values = as_array(values)
        if values.shape != batch.shape or values.dtype is not self.dtype:
            self._check(values, batch.shape)
        batch[...] = values

    def take(self, batch):
        """Actions for the environments: a copy that they may keep and change."""
        return np.array(batch, self._native)

    def _check(self, value, shape):
        convertible = np.can_cast(value.dtype, self.dtype, "same_kind")
        if convertible and value.size and self.dtype.kind in "iu":  # no overflow
            limits = np.iinfo(self.dtype)
            convertible = limits.min <= value.min() and value.max() <= limits.max
        if value.shape != shape or not convertible:
            raise MalformedError(
                f"Expected an array of shape {shape} and dtype {self._native}. "
                f"Received: shape {value.shape}, dtype {value.dtype}"
            )


class DiscreteCodec(Leaf):
    """Integers from `start` to `start + n - 1`, unchanged, in int32."""

    shape = ()
    dtype = np.dtype(np.int32)

    def __init__(self, space):
        self._low, self._high = int(space.start), int(space.start + space.n) - 1
        _check_int32(space, self._low, self._high)

    def put(self, batch, index, value):
        batch[index] = self._checked(value)

    def take(self, batch):
        """Actions for the environments: int64, like the space's own samples."""
        if len(batch) > _MANY:
            inside = self._low <= batch.min() and batch.max() <= self._high
        else:
            values = batch.tolist()
            inside = self._low <= min(values) <= max(values) <= self._high
        if not inside:
            for value in batch.tolist():
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


class IntegersCodec(Leaf):
    """Arrays of integers, each in a range of its own.

    Args:
        space: `MultiDiscrete` or `MultiBinary`.
        dtype: Of batches.
    """

    def __init__(self, space, dtype=np.int32):
        self.shape, self._native, self._space = space.shape, space.dtype, space
        self.dtype = np.dtype(dtype)
        sizes = getattr(space, "nvec", np.full(space.shape, 2))
        self._low = np.asarray(getattr(space, "start", np.zeros(space.shape)), np.int64)
        self._high = self._low + sizes - 1
        _check_int32(space, self._low, self._high)

    def put(self, batch, index, value):
        batch[index] = self._checked(as_array(value))

    def take(self, batch):
        """Values to hand to the environments: a copy they may keep and change."""
        if np.any(batch < self._low) or np.any(batch > self._high):
            for value in batch:
                self._checked(value)
        return batch.astype(self._native)

    def _checked(self, value):
        fits = value.shape == self.shape and value.dtype.kind in "iub"
        if not fits or np.any(value < self._low) or np.any(value > self._high):
            raise MalformedError(
                f"Expected integers in {self._space}. Received: {value.tolist()!r}"
            )
        return value


def _check_int32(space, low, high):
    limits = np.iinfo(np.int32)
    if np.any(low < limits.min) or np.any(high > limits.max):
        raise ValueError(
            f"Expected integers from {limits.min} to {limits.max}, those of int32. "
            f"Received: {space}. Number the values anew, or declare a `Box`."
        )


def as_array(value):
    """`value` as an array; a `MalformedError` if its rows have different shapes."""
    if type(value) is np.ndarray:
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        raise MalformedError(
            f"Expected an array. Received: {value!r:.100} ({error})"
        ) from None
