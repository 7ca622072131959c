"""The box that holds the environment's continuous actions."""

import math

import tensorflow as tf


class Bounds:
    """The box of the environment's actions, flat here, in `shape` outside."""

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
        """`[..., D]`, bounds at -1 and 1, to `[..., *shape]` in the environment's."""
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

    def get_config(self):
        low = [
            x if math.isfinite(x) else None for x in self.low
        ]  # JSON has no infinity
        high = [x if math.isfinite(x) else None for x in self.high]
        return {"low": low, "high": high, "shape": list(self.shape)}
