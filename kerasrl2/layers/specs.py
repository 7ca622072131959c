"""What is known of observations: their shape, type and bounds."""

import keras
import numpy as np

_MOST_BOUNDS = 4096  # of a space that are kept one by one, not as smallest and largest
_NO_BOUND = 1e30  # so large a float is none


@keras.saving.register_keras_serializable(package="kerasrl2")
class ObservationSpec:
    """Shape, type and bounds of one observation.

    Args:
        shape: Sequence of integers, without the batch axis.
        dtype: String, as the environment's batches have it: that of the space, but
            `"float32"` for all floats and `"int32"` for `Discrete`.
        num_classes: Integer for Discrete observations, else None.
        start: Integer, the smallest of Discrete observations.
        low: Number or nested list of `shape`, the smallest values; None if there are
            none or they are not known. Integers of 8 bits have the limits of their
            type by default. Kept for what default networks scale: integers, and floats
            of three axes and more.
        high: The largest values, as `low`.

    Example:
    >>> from gymnasium import spaces
    >>> ObservationSpec.of_space(spaces.Box(0, 1, [10, 10, 4], np.uint8))
    shape (10, 10, 4) uint8 from 0 to 1
    """

    def __init__(
        self, shape, dtype="float32", num_classes=None, start=0, low=None, high=None
    ):
        self.shape, self.dtype = tuple(int(size) for size in shape), str(dtype)
        self.num_classes, self.start = num_classes, int(start)
        if low is None and high is None and self.dtype in ("uint8", "int8"):
            limits = np.iinfo(self.dtype)
            low, high = float(limits.min), float(limits.max)
        self.low, self.high = low, high

    @classmethod
    def of_space(cls, space):
        """The spec of a Gymnasium `Box` or `Discrete` space.

        Raises:
            ValueError: The space is another one, or holds nothing.
        """
        if hasattr(space, "n") and space.shape == ():
            if space.n < 1:
                raise ValueError(
                    f"Expected at least one observation in a Discrete space. "
                    f"Received: n={space.n}. Declare how many there are."
                )
            return cls((), "int32", int(space.n), int(space.start))
        if not hasattr(space, "low"):
            raise ValueError(
                f"Expected observations in a space of type Box or Discrete. Received: "
                f"{space}. A wrapper can convert it, for instance "
                "gymnasium.wrappers.FlattenObservation."
            )
        if 0 in space.shape:
            raise ValueError(
                f"Expected observations that hold numbers. Received: {space}, whose "
                f"shape {space.shape} has none. Declare the shape of what is returned."
            )
        floating = np.issubdtype(space.dtype, np.floating)
        dtype = "float32" if floating else np.dtype(space.dtype).name
        if floating and len(space.shape) < 3:
            return cls(space.shape, dtype)
        return cls(
            space.shape, dtype, low=_bound(space, "low"), high=_bound(space, "high")
        )

    @classmethod
    def of_network(cls, network):
        """The spec of what a built Keras model takes."""
        inputs = network.inputs[0]
        spec = cls(inputs.shape[1:], inputs.dtype)
        spec.low = spec.high = None
        return spec

    @property
    def is_integer(self):
        """Whether observations are integers or Booleans."""
        return not self.dtype.startswith("float")

    def normalized(self):
        """The spec of the same observations with mean 0 and deviation 1."""
        return ObservationSpec(self.shape)

    @property
    def fits_float32(self):
        """Whether float32 holds all integers between the bounds."""
        bounds = [0.0 if bound is None else bound for bound in (self.low, self.high)]
        return max(np.max(np.abs(bound)) for bound in bounds) <= 2.0**24

    def scaling(self):
        """What takes observations from between their bounds to between 0 and 1.

        Returns:
            `(scale, offset)`, `scale * x + offset`, numbers or nested lists; None where
            bounds are not known, or lie within -1 and 1 anyway.
        """
        if self.low is None or self.high is None:
            return None
        low, high = np.asarray(self.low, float), np.asarray(self.high, float)
        if (low.min() >= -1.0 and high.max() <= 1.0) or not (high > low).any():
            return None
        width = np.where(high > low, high - low, 1.0)
        return (1.0 / width).tolist(), (-low / width).tolist()

    def get_config(self):
        config = {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "num_classes": self.num_classes,
        }
        return {**config, "start": self.start, "low": self.low, "high": self.high}

    @classmethod
    def from_config(cls, config):
        spec = cls(**config)
        if "low" not in config:  # of a file that knew of no bounds
            spec.low = spec.high = None
        return spec

    def __eq__(self, other):
        same_class = isinstance(other, ObservationSpec)
        return same_class and self.get_config() == other.get_config()

    __hash__ = None

    def __repr__(self):
        text = f"shape {self.shape} {self.dtype}"
        if self.num_classes:
            text += f", {self.num_classes} classes"
        if self.start:
            text += f" from {self.start} on"
        if self.low is not None and self.high is not None:
            low, high = np.min(self.low), np.max(self.high)
            text += f" from {low:g} to {high:g}"
        return text


def _bound(space, name):
    """One number, a nested list, or None for what is not bounded."""
    values = np.asarray(getattr(space, name), np.float64)
    dtype = np.dtype(space.dtype)
    if dtype.kind in "iu" and dtype.itemsize > 1:
        limits = np.iinfo(dtype)
        bounded = (values > limits.min) & (values < limits.max)
        if name == "low" and dtype.kind == "u":
            bounded |= values == 0.0
    else:
        bounded = np.abs(values) < _NO_BOUND
    if not bounded.all():
        return None
    if np.ptp(values) == 0.0:
        return float(values.flat[0])
    if values.size <= _MOST_BOUNDS:
        return values.tolist()
    return float(values.min() if name == "low" else values.max())
