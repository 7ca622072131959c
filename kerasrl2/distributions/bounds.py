"""Kinds of action spaces, and the bounds of continuous actions."""

import math

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_choice
from kerasrl2.distributions.sampling import normal_of, uniform

DTYPES = "float16", "float32", "float64"  # of actions


def is_discrete(space):
    """Whether a space is Gymnasium's `Discrete` (not `MultiBinary`)."""
    return hasattr(space, "n") and space.shape == ()


def is_continuous(space):
    """Whether a space is a `Box` of floating-point numbers."""
    dtype = getattr(space, "dtype", None) or "O"
    return hasattr(space, "low") and np.issubdtype(dtype, np.floating)


def float_dtype(space):
    """Name of the dtype in which a continuous space wants its actions."""
    name = np.dtype(space.dtype).name
    return name if name in DTYPES else "float64"


class Bounds:
    """Bounds of continuous actions; flat `[D]` here, of `shape` in the environment.

    Bounds of a float64 box are not those of a float32 one: -0.1 in float32 lies below
    -0.1, so actions are given to the environment in the dtype its space declares.
    """

    def __init__(self, low, high, shape, dtype=None):
        check_choice("dtype", dtype, (*DTYPES, None))
        low = [-math.inf if x is None else float(x) for x in low]
        high = [math.inf if x is None else float(x) for x in high]
        self.size, self.low, self.high = len(low), low, high
        self.dtype = dtype or _smallest_dtype([*low, *high])
        self.shape = (len(low),) if shape is None else tuple(int(n) for n in shape)
        ordered = all(a < b for a, b in zip(low, high, strict=False))
        if not low or len(low) != len(high) or not ordered:
            raise ValueError(
                "Expected `low` and `high` of one length >= 1, and each low < high. "
                f"Received: low={low}, high={high}"
            )
        if math.prod(self.shape) != len(low):
            raise ValueError(
                f"Expected `shape` of {len(low)} elements. Received: shape={self.shape}"
            )
        pairs = list(zip(low, high, strict=True))
        finite = [math.isfinite(a) and math.isfinite(b) for a, b in pairs]
        both = list(zip(pairs, finite, strict=True))
        self.all_finite = all(finite)
        self.centre = [a / 2 + b / 2 if ok else 0.0 for (a, b), ok in both]
        self.half_width = [b / 2 - a / 2 if ok else 1.0 for (a, b), ok in both]

    def check_finite(self, name):
        if not self.all_finite:
            raise ValueError(
                f"Expected finite bounds for {name}: use DiagonalGaussian or bound the "
                f"action space. Received: low={self.low}, high={self.high}"
            )

    def from_centred(self, action):
        """`[..., D]` with bounds -1 and 1 to the environment's `[..., *shape]`.

        Computed in float32, or in float64 if that is the dtype of either.
        """
        action = tf.convert_to_tensor(action)
        if action.shape[-1] != self.size:
            raise ValueError(
                f"Expected actions of {self.size} dimensions. "
                f"Received: {tuple(action.shape)}"
            )
        action, centre, half_width = self._precise(action)
        action = tf.cast(centre + half_width * action, self.dtype)
        low, high = (tf.constant(x, self.dtype) for x in (self.low, self.high))
        action = tf.clip_by_value(action, low, high)
        if self.shape == (self.size,):
            return action
        return tf.reshape(action, tf.concat([tf.shape(action)[:-1], self.shape], 0))

    def to_centred(self, action):
        """`[..., *shape]` in the environment's units to `[..., D]` float32.

        The bounds become -1 and 1. Actions outside the bounds are not clipped.
        """
        action, centre, half_width = self._precise(tf.convert_to_tensor(action))
        lead = action.shape.rank - len(self.shape)
        if lead < 0 or tuple(action.shape[lead:]) != self.shape:
            raise ValueError(
                f"Expected actions of the environment of shape [..., "
                f"{', '.join(map(str, self.shape))}]. Received: {tuple(action.shape)}"
            )
        if self.shape != (self.size,):
            flat = tf.concat([tf.shape(action)[:lead], [self.size]], 0)
            action = tf.reshape(action, flat)
        return tf.cast((action - centre) / half_width, tf.float32)

    def _precise(self, action):
        """An action, the centre and half the width of the box in one dtype."""
        double = action.dtype == tf.float64 or self.dtype == "float64"
        dtype = tf.float64 if double else tf.float32
        constants = (tf.constant(x, dtype) for x in (self.centre, self.half_width))
        return tf.cast(action, dtype), *constants

    def random_centred(self, n, seed):
        """Random actions, `[n, D]` float32 with bounds -1 and 1.

        Uniform in dimensions with two bounds. Elsewhere as `gymnasium.spaces.Box`
        draws: exponential of scale 1 from a single bound on, else standard normal.

        Args:
            n: Integer.
            seed: `[2]` int, stateless seed.
        """
        draw = uniform([n, self.size], seed, tf.float32)
        columns = zip(self.low, self.high, tf.unstack(draw, axis=1), strict=True)
        return tf.stack([_random_between(*column) for column in columns], axis=1)

    def log_stretch(self):
        """Logarithm of the volume that `from_centred` makes of a unit volume."""
        return sum(map(math.log, self.half_width))

    def match(self, space):
        """Whether a space is a floating-point `Box` of this shape and these bounds."""
        if not is_continuous(space) or tuple(space.shape) != self.shape:
            return False
        bounds = np.array([self.low, self.high], space.dtype)  # 0.1 as it rounds there
        return np.array_equal(bounds, [np.ravel(space.low), np.ravel(space.high)])

    def get_config(self):
        low = [
            x if math.isfinite(x) else None for x in self.low
        ]  # JSON has no infinity
        high = [x if math.isfinite(x) else None for x in self.high]
        shape = list(self.shape)
        return {"low": low, "high": high, "shape": shape, "dtype": self.dtype}


def _smallest_dtype(bounds):
    """The name of float32 if it holds all of the numbers, else that of float64."""
    with np.errstate(over="ignore"):
        exact = np.array_equal(np.float32(bounds), bounds)
    return "float32" if exact else "float64"


def _random_between(low, high, draw):
    """Turns uniform draws from (0, 1) into `Bounds.random_centred` of a dimension."""
    if math.isfinite(low) and math.isfinite(high):
        return 2.0 * draw - 1.0
    if math.isfinite(low):
        return low - tf.math.log(draw)
    if math.isfinite(high):
        return high + tf.math.log(draw)
    return normal_of(draw)
