"""Numeric hyper-parameters that can be changed without compiling anew."""

import functools
import math
import numbers

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range, plain
from kerasrl2.schedules import Schedule

FINITE = {"low": -math.inf, "high": math.inf, "open_low": True, "open_high": True}


class Number:
    """An attribute that holds a number in a variable, which compiled functions read.

    Inside a `tf.function` the attribute is a tensor of the current value, float32 or
    int64; elsewhere it is a Python number. None and schedules, where they are allowed,
    are structure: compiled functions keep the one they were traced with.

    Args:
        low: Number or None, the smallest allowed value.
        high: Number or None, the largest allowed value.
        open_low: Boolean, whether `low` itself is excluded.
        open_high: Boolean, whether `high` itself is excluded.
        optional: Boolean, whether None may be assigned.
        schedule: Boolean, whether a Keras schedule may be assigned.
        integer: Boolean, whether it must be an integer, >= 1 if no `low` is given.
        several: Boolean, whether a list or tuple of numbers may be assigned. Another
            length is structure.

    Example:
    >>> from kerasrl2.agents import Number
    >>> class Discounted:
    ...     gamma = Number(0.0, 1.0)
    >>> owner = Discounted()
    >>> owner.gamma = 0.5
    >>> compiled = tf.function(lambda: 2.0 * owner.gamma)
    >>> float(compiled()), owner.gamma
    (1.0, 0.5)
    >>> owner.gamma = 0.9
    >>> round(float(compiled()), 3)
    1.8
    """

    def __init__(
        self, low=None, high=None, *, open_low=False, open_high=False, optional=False,
        schedule=False, integer=False, several=False,
    ):  # fmt: skip
        self._range = {"low": low, "high": high}
        self._range |= {"open_low": open_low, "open_high": open_high}
        self._optional, self._schedule = optional, schedule
        self._integer, self._several = integer, several

    def __set_name__(self, owner, name):
        self._attribute = name

    def __get__(self, owner, owner_class=None):
        if owner is None:
            return self
        try:
            variable = vars(owner)["_numbers"][self._attribute]
        except KeyError:
            raise AttributeError(f"`{self._attribute}` has not been set yet.") from None
        if not isinstance(variable, tf.Variable):
            return variable
        if tf.inside_function():
            value = variable.read_value()
            return value if self._integer else tf.cast(value, tf.float32)
        value = variable.numpy().tolist()
        return tuple(value) if isinstance(value, list) else value

    def __set__(self, owner, value):
        value = plain(value)
        if self._several and isinstance(value, np.ndarray):
            value = value.tolist()
        self._check(value)
        # Not by `setattr`: Keras would replace the dictionary with its tracking one.
        known = vars(owner).setdefault("_numbers", {})
        if value is None or isinstance(value, Schedule):
            known[self._attribute] = value
        elif _same_shape(known.get(self._attribute), value):
            known[self._attribute].assign(value)
        else:
            dtype = tf.int64 if self._integer else tf.float64
            with tf.init_scope():
                known[self._attribute] = tf.Variable(
                    value, trainable=False, dtype=dtype, name=self._attribute
                )

    def _check(self, value):
        if value is None and self._optional:
            return
        if isinstance(value, Schedule) and self._schedule:
            return
        if isinstance(value, list | tuple) and self._several and value:
            for item in value:
                check_range(self._attribute, item, **self._range)
        elif self._integer and self._range["low"] is None:
            check_positive_integer(self._attribute, value)
        elif self._integer and not isinstance(value, numbers.Integral):
            raise ValueError(
                f"Expected `{self._attribute}` to be an integer. Received: {value!r}"
            )
        elif isinstance(value, numbers.Real) and not isinstance(value, bool):
            check_range(self._attribute, value, **self._range)
        else:
            also = " or several" if self._several else ""
            also += " or a Keras schedule" if self._schedule else ""
            also += " or None" if self._optional else ""
            raise ValueError(
                f"Expected `{self._attribute}` to be a number{also}. Received: "
                f"{value!r}"
            )


def _same_shape(variable, value):
    return isinstance(variable, tf.Variable) and variable.shape == np.shape(value)


@functools.cache
def number_names(owner_class):
    """Set of the names of a class's `Number` attributes."""
    return {
        name
        for owner in owner_class.__mro__
        for name, value in vars(owner).items()
        if isinstance(value, Number)
    }
