"""What the functions of this package are given: shapes, dtypes, actions."""

import numbers

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasrl2._checks import check_same_shape


def tensor(x):
    """`x` as a tensor; one of Keras' symbolic ones stays."""
    return x if isinstance(x, keras.KerasTensor) else ops.convert_to_tensor(x)


def floats(x):
    """`x` as float64 if that is its dtype, else as float32."""
    x = tensor(x)
    return x if x.dtype == "float64" else ops.cast(x, "float32")


def scalar(value, like):
    """A hyper-parameter in the dtype of a tensor; a number not by way of float32."""
    if isinstance(value, numbers.Real):
        with np.errstate(over="ignore"):  # beyond float32 it is infinite
            return ops.convert_to_tensor(float(value), like.dtype)
    return ops.cast(value, like.dtype)


def matched(**tensors):
    """List of tensors of one shape, all in the dtype `floats` gives the first one.

    Raises `ValueError` where shapes differ: nothing is broadcast.
    """
    tensors = {name: tensor(x) for name, x in tensors.items()}
    check_same_shape(**tensors)
    first, *others = tensors.values()
    first = floats(first)
    return [first, *(ops.cast(x, first.dtype) for x in others)]


def value_now(x):
    """`x` as an array where its value is known, as it is outside of graphs; or None."""
    return None if isinstance(x, keras.KerasTensor) else tf.get_static_value(x)


def legal_actions(action, num_actions):
    """Discrete actions, and which of them exist.

    Args:
        action: `[...]` int, or float of whole numbers.
        num_actions: Integer `A`.

    Returns:
        `(action, legal)`: `[...]` int32 in `[0, A)`, and bool. What is no action is 0
        and not legal.
    """
    given = tensor(action)
    is_float = keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(given.dtype)
    )
    number = given if is_float else ops.cast(given, "int64")
    legal = ops.logical_and(number >= 0, number < num_actions)
    if is_float:
        legal = ops.logical_and(legal, number == ops.floor(number))
    return ops.cast(ops.where(legal, number, ops.zeros_like(number)), "int32"), legal


def refuse_other_actions(action, legal, num_actions):
    """Raises a `ValueError` outside of graphs unless all actions are `legal`."""
    known = value_now(legal)
    if known is not None and not known.all():
        raise ValueError(
            f"Expected `action` of whole numbers in [0, {num_actions}). Received: "
            f"{np.asarray(action)[~known].tolist()}"
        )
