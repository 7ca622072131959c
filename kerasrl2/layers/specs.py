"""What is known of observations: their shape, type and bounds."""

import keras
import numpy as np
import tensorflow as tf

ACTION_MASK = "action_mask"  # the entry of a Dict that says which actions are legal
_LEFT_OUT = ("Text",)  # kinds of spaces whose entries no network is given
_MOST_BOUNDS = 4096  # of a space that are kept one by one, not as smallest and largest
_NO_BOUND = 1e30  # so large a float is none


@keras.saving.register_keras_serializable(package="kerasrl2")
class ObservationSpec:
    """Shape, type and bounds of one observation.

    Args:
        shape: Sequence of integers, without the batch axis.
        dtype: String, as the environment's batches have it: that of the space, but
            `"float32"` for all floats and `"int32"` for `Discrete`.
        num_classes: Integer for Discrete observations, nested list of `shape` for
            MultiDiscrete ones, else None.
        start: Integer or nested list, the smallest of such observations.
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
        self.num_classes = num_classes
        self.start = start if isinstance(start, list) else int(start)
        if low is None and high is None and self.dtype in ("uint8", "int8"):
            limits = np.iinfo(self.dtype)
            low, high = float(limits.min), float(limits.max)
        self.low, self.high = low, high

    @classmethod
    def of_space(cls, space, place="observation_space"):
        """The spec of a Gymnasium space; of a `Dict` or `Tuple` a `NestedSpec`.

        Args:
            space: `Box`, `Discrete`, `MultiBinary`, `MultiDiscrete`, `Dict` or `Tuple`.
            place: String, where it is, for messages.

        Raises:
            ValueError: The space is another one, or holds nothing.
        """
        if hasattr(space, "spaces") and type(space).__name__ in ("Dict", "Tuple"):
            return NestedSpec.of_space(space, place)
        if hasattr(space, "nvec"):
            if 0 in space.shape or (space.nvec < 1).any():
                raise _empty(space, place)
            start = np.asarray(getattr(space, "start", 0)) + np.zeros(space.shape, int)
            classes = space.nvec.tolist()
            return cls(space.shape, "int32", classes, start.astype(int).tolist())
        if hasattr(space, "n") and space.shape == ():
            if space.n < 1:
                raise ValueError(
                    f"Expected at least one observation in a Discrete space. "
                    f"Received: n={space.n}. Declare how many there are."
                )
            return cls((), "int32", int(space.n), int(space.start))
        if hasattr(space, "n"):
            if 0 in space.shape:
                raise _empty(space, place)
            return cls(space.shape, "int8", low=0.0, high=1.0)
        if not hasattr(space, "low"):
            raise ValueError(
                "Expected observations in a space of type Box, Discrete, MultiBinary, "
                f"MultiDiscrete, Dict or Tuple. Received: `{place}` is {space}. A "
                "wrapper can convert it, for instance "
                "gymnasium.wrappers.TransformObservation."
            )
        if 0 in space.shape:
            raise _empty(space, place)
        floating = np.issubdtype(space.dtype, np.floating)
        dtype = "float32" if floating else np.dtype(space.dtype).name
        if floating and len(space.shape) < 3:
            return cls(space.shape, dtype)
        return cls(
            space.shape, dtype, low=_bound(space, "low"), high=_bound(space, "high")
        )

    @classmethod
    def of_network(cls, network):
        """The spec of what a built functional or sequential Keras model takes.

        Of a `RecurrentNetwork`, what its encoder takes.
        """
        inputs = getattr(getattr(network, "encoder", network), "inputs", None)
        if isinstance(inputs, list) and len(inputs) > 1:
            raise ValueError(
                f"Expected `observation_spec` for a network of several inputs. "
                f"Received: None, and {network.name!r} with {len(inputs)}. Make the "
                "agent by `for_env`, or give a `NestedSpec`."
            )
        if not isinstance(inputs, list):
            raise ValueError(
                f"Expected `observation_spec`: {type(network).__name__} does not say "
                "what it takes. Received: None. Give `ObservationSpec(shape, dtype)`, "
                "or make the agent by `for_env`."
            )
        inputs = inputs[0]
        spec = cls(inputs.shape[1:], inputs.dtype)
        spec.low = spec.high = None
        return spec

    @property
    def nest(self):
        """The spec itself: of a `NestedSpec`, the nest of its entries."""
        return self

    @property
    def has_mask(self):
        """Whether observations say which actions are legal: not these."""
        return False

    @property
    def for_network(self):
        """The spec of what networks are given: all of it."""
        return self

    def select(self, observation):
        """What networks are given of observations: all of it."""
        return observation

    def legal_actions(self, observation):
        """Which actions observations allow: not said, None."""
        del observation

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
        if np.any(self.start):
            text += f" from {self.start} on"
        if self.low is not None and self.high is not None:
            low, high = np.min(self.low), np.max(self.high)
            text += f" from {low:g} to {high:g}"
        return text


@keras.saving.register_keras_serializable(package="kerasrl2")
class NestedSpec:
    """What is known of observations in a `Dict` or `Tuple` space.

    Observations are nests: dictionaries or tuples of batches `[B, ...]`. An entry
    `action_mask` of the outermost dictionary says which actions are legal; networks are
    given the others, and if there is but one, as in `{"observation": ...,
    "action_mask": ...}`, that one by itself. Entries of `Text` spaces are left out.

    Args:
        entries: Dictionary or tuple of `ObservationSpec` and `NestedSpec`.

    Example:
    >>> from gymnasium import spaces
    >>> inner = {"position": spaces.Box(-1, 1, [2]), "item": spaces.Discrete(3)}
    >>> NestedSpec.of_space(spaces.Dict(inner))
    {'item': shape () int32, 3 classes, 'position': shape (2,) float32}
    """

    def __init__(self, entries):
        if isinstance(entries, list | tuple):
            self.entries = tuple(entries)
        else:
            self.entries = {name: entries[name] for name in sorted(entries)}
        if not self.entries:
            raise ValueError(
                "Expected a Dict or Tuple of observations. Received: one without "
                "entries that an agent can see. Declare what `reset` and `step` return."
            )

    @classmethod
    def of_space(cls, space, place="observation_space"):
        """The spec of a Gymnasium `Dict` or `Tuple` space.

        Raises:
            ValueError: An entry is of an unsupported space, or there is none.
        """
        named = hasattr(space.spaces, "items")
        items = space.spaces.items() if named else enumerate(space.spaces)
        found = {
            key: ObservationSpec.of_space(inner, f"{place}[{key!r}]")
            for key, inner in items
            if type(inner).__name__ not in _LEFT_OUT
        }
        if not found:
            raise _empty(space, place)
        return cls(found if named else tuple(found.values()))

    @property
    def nest(self):
        """Dictionary or tuple of `ObservationSpec`, and of such."""
        return self._mapped(lambda spec: spec.nest)

    @property
    def has_mask(self):
        """Whether an entry says which actions are legal."""
        return isinstance(self.entries, dict) and ACTION_MASK in self.entries

    @property
    def for_network(self):
        """The spec of what networks are given: all but an `action_mask`."""
        if not self.has_mask:
            return self
        rest = {k: spec for k, spec in self.entries.items() if k != ACTION_MASK}
        return NestedSpec(rest) if len(rest) > 1 else next(iter(rest.values()))

    def select(self, observation):
        """What networks are given of observations: all but an `action_mask`."""
        if not self.has_mask:
            return observation
        rest = {key: observation[key] for key in self.entries if key != ACTION_MASK}
        return rest if len(rest) > 1 else next(iter(rest.values()))

    def legal_actions(self, observation):
        """`[B, A]` bool, which actions observations allow; None if they do not say."""
        return tf.cast(observation[ACTION_MASK], tf.bool) if self.has_mask else None

    def normalized(self):
        """The spec of the same observations with mean 0 and deviation 1."""
        return NestedSpec(self._mapped(lambda spec: spec.normalized()))

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        if isinstance(self.entries, tuple):
            return {"entries": [serialize(spec) for spec in self.entries]}
        return {"entries": {k: serialize(spec) for k, spec in self.entries.items()}}

    @classmethod
    def from_config(cls, config):
        load, entries = keras.saving.deserialize_keras_object, config["entries"]
        if isinstance(entries, dict):
            return cls({key: load(entry) for key, entry in entries.items()})
        return cls(tuple(load(entry) for entry in entries))

    def __eq__(self, other):
        return isinstance(other, NestedSpec) and self.entries == other.entries

    __hash__ = None

    def __repr__(self):
        return repr(self.entries)

    def _mapped(self, function):
        if isinstance(self.entries, tuple):
            return tuple(function(spec) for spec in self.entries)
        return {name: function(spec) for name, spec in self.entries.items()}


def entries_of(spec, path=()):
    """List of `(path, ObservationSpec)` of all entries, as `tf.nest.flatten` has them.

    Args:
        spec: `ObservationSpec` or `NestedSpec`.
        path: Tuple of keys and positions, what each path begins with.

    Example:
    >>> inner = NestedSpec((ObservationSpec([1]), ObservationSpec([2])))
    >>> entries_of(NestedSpec({"b": inner, "a": ObservationSpec([])}))[1:]
    [(('b', 0), shape (1,) float32), (('b', 1), shape (2,) float32)]
    """
    if isinstance(spec, ObservationSpec):
        return [(path, spec)]
    named = isinstance(spec.entries, dict)
    items = spec.entries.items() if named else enumerate(spec.entries)
    return [leaf for key, inner in items for leaf in entries_of(inner, (*path, key))]


def _empty(space, place):
    return ValueError(
        f"Expected observations that hold numbers. Received: `{place}` is {space}, "
        "which has none. Declare the shape of what is returned."
    )


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
