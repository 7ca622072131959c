"""Kinds of action spaces, and the bounds of continuous actions."""

import math

import numpy as np
import tensorflow as tf

from kerasrl2.distributions.sampling import normal_of, uniform


def is_discrete(space):
    """Whether a space is Gymnasium's `Discrete` (not `MultiBinary`)."""
    return hasattr(space, "n") and space.shape == ()


def is_continuous(space):
    """Whether a space is a `Box` of floating-point numbers."""
    dtype = getattr(space, "dtype", None) or "O"
    return hasattr(space, "low") and np.issubdtype(dtype, np.floating)


class Bounds:
    """Bounds of continuous actions, flat `[D]` here, of `shape` in the environment."""

    def __init__(self, low, high, shape):
        low = [-math.inf if x is None else float(x) for x in low]
        high = [math.inf if x is None else float(x) for x in high]
        self.size, self.low, self.high = len(low), low, high
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
        """`[..., D]` with bounds -1 and 1 to the environment's `[..., *shape]`."""
        action = tf.convert_to_tensor(action)
        if action.shape[-1] != self.size:
            raise ValueError(
                f"Expected actions of {self.size} dimensions. "
                f"Received: {tuple(action.shape)}"
            )
        constants = (self.centre, self.half_width, self.low, self.high)
        centre, half_width, low, high = (
            tf.constant(x, action.dtype) for x in constants
        )
        action = tf.clip_by_value(centre + half_width * action, low, high)
        if self.shape == (self.size,):
            return action
        return tf.reshape(action, tf.concat([tf.shape(action)[:-1], self.shape], 0))

    def to_centred(self, action):
        """`[..., *shape]` in the environment's units to `[..., D]` float32.

        The bounds become -1 and 1. Actions outside the bounds are not clipped.
        """
        action = tf.convert_to_tensor(action)
        if action.dtype != tf.float64:
            action = tf.cast(action, tf.float32)
        lead = action.shape.rank - len(self.shape)
        if lead < 0 or tuple(action.shape[lead:]) != self.shape:
            raise ValueError(
                f"Expected actions of the environment of shape [..., "
                f"{', '.join(map(str, self.shape))}]. Received: {tuple(action.shape)}"
            )
        if self.shape != (self.size,):
            flat = tf.concat([tf.shape(action)[:lead], [self.size]], 0)
            action = tf.reshape(action, flat)
        centre = tf.constant(self.centre, action.dtype)
        half_width = tf.constant(self.half_width, action.dtype)
        return tf.cast((action - centre) / half_width, tf.float32)

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

    def match(self, space):
        """Whether a space is a floating-point `Box` of this shape and these bounds."""
        if not is_continuous(space) or tuple(space.shape) != self.shape:
            return False
        low, high = (np.ravel(x).tolist() for x in (space.low, space.high))
        return (low, high) == (self.low, self.high)

    def get_config(self):
        low = [
            x if math.isfinite(x) else None for x in self.low
        ]  # JSON has no infinity
        high = [x if math.isfinite(x) else None for x in self.high]
        return {"low": low, "high": high, "shape": list(self.shape)}


def _random_between(low, high, draw):
    """Turns uniform draws from (0, 1) into `Bounds.random_centred` of a dimension."""
    if math.isfinite(low) and math.isfinite(high):
        return 2.0 * draw - 1.0
    if math.isfinite(low):
        return low - tf.math.log(draw)
    if math.isfinite(high):
        return high + tf.math.log(draw)
    return normal_of(draw)
