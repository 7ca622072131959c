"""Moments and norms of batches and streams. Pure: the caller holds the state."""

import kerasrl2._startup  # noqa: F401

from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from kerasrl2._checks import check_same_shape
from kerasrl2._private import in_xla_context

_FOLDS = 16


class Moments(NamedTuple):
    """Population moments of `count` samples.

    Attributes:
        count: `[]` float, number of samples.
        mean: `[...]` float.
        variance: `[...]` float, divided by `count`, not by `count - 1`.

    Example:
    >>> Moments(count=2, mean=1.0, variance=0.25)
    Moments(count=2, mean=1.0, variance=0.25)
    """

    count: Any
    mean: Any
    variance: Any


def merge_moments(count, mean, variance, batch_count, batch_mean, batch_variance):
    """Moments of two groups of samples taken together.

    Equation (2.1) of Chan, Golub and LeVeque (1979), Stanford report STAN-CS-79-773,
    http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf. Written as
    a step from the first group towards the second, so that merging many small batches
    in float32 does not drift. Gradients flow to every argument.

    Args:
        count: `[]` float >= 0, samples in the first group. With 0 the result is the
            second group, to the last bit, whatever `mean` and `variance` are.
        mean: `[...]` float.
        variance: `[...]` float, population variance.
        batch_count: `[]` float >= 0, samples in the second group; 0 changes nothing.
        batch_mean: `[...]` float.
        batch_variance: `[...]` float, population variance.

    Returns:
        `Moments(count, mean, variance)`.

    Example:
    >>> count, mean, variance = merge_moments(3.0, 2.0, 2 / 3, 2.0, 4.5, 0.25)
    >>> float(count), float(mean), round(float(variance), 6)
    (5.0, 3.0, 2.0)
    """
    mean, variance, batch_mean, batch_variance = map(
        ops.convert_to_tensor, (mean, variance, batch_mean, batch_variance)
    )
    dtype = "float64" if mean.dtype == "float64" else "float32"
    mean, variance, batch_mean, batch_variance = (
        ops.cast(x, dtype) for x in (mean, variance, batch_mean, batch_variance)
    )
    check_same_shape(
        mean=mean,
        variance=variance,
        batch_mean=batch_mean,
        batch_variance=batch_variance,
    )
    count, batch_count = ops.cast(count, mean.dtype), ops.cast(batch_count, mean.dtype)
    total = count + batch_count
    share = batch_count / ops.where(total > 0.0, total, ops.ones_like(total))
    delta = batch_mean - mean
    between = (1.0 - share) * delta**2
    new_variance = variance + share * (batch_variance - variance + between)
    first = (count == 0.0) & (batch_count > 0.0)
    return Moments(
        total,
        ops.where(first, batch_mean, mean + share * delta),
        ops.where(first, batch_variance, new_variance),
    )


def masked_moments(x, mask=None, feature_rank=1):
    """Count, mean and variance over the leading axes of `x`.

    Computed in passes over the mean and over what deviates from it, so that a large
    mean costs no precision. Gradients flow to `x`.

    Args:
        x: `[..., *features]` float or int.
        mask: `[...]` bool or None, False for rows to leave out, even if they are NaN.
            If all are False, the moments are 0.
        feature_rank: Integer >= 0, how many trailing axes are kept.

    Returns:
        `Moments(count, mean, variance)`: `[]`, `features` and `features`, float.

    Example:
    >>> moments = masked_moments([[1.0], [2.0], [99.0]], mask=[True, True, False])
    >>> float(moments.count), float(moments.mean[0]), float(moments.variance[0])
    (2.0, 1.5, 0.25)
    """
    x = _as_float(x)
    leading = len(x.shape) - feature_rank
    if leading < 0:
        raise ValueError(
            f"Expected `x` with at least {feature_rank} axes. "
            f"Received: x.shape={tuple(x.shape)}"
        )
    if mask is None:
        mask = ops.ones_like(x[(..., *[0] * feature_rank)], dtype="bool")
    mask = ops.cast(mask, "bool")
    _check_mask(mask, tuple(x.shape)[:leading])
    axes = tuple(range(leading))
    count = ops.sum(ops.cast(mask, x.dtype))
    divisor = ops.maximum(count, 1.0)
    mask = ops.reshape(mask, ops.shape(mask) + (1,) * feature_rank)
    mean = ops.sum(ops.where(mask, x, 0.0), axis=axes) / divisor
    deviation = ops.where(mask, x - mean, 0.0)
    return Moments(count, mean, ops.sum(deviation**2, axis=axes) / divisor)


def masked_mean(x, mask=None):
    """Mean of the elements of `x` where `mask` is True, a scalar; 0 if none is.

    Gradients flow to these elements.

    Args:
        x: `[...]` float or int.
        mask: `[...]` bool of the same shape, or None: all elements.

    Returns:
        `[]` float.

    Example:
    >>> float(masked_mean([1.0, 3.0, 99.0], [True, True, False]))
    2.0
    """
    x = _as_float(x)
    if mask is None:
        return ops.mean(x)
    mask = ops.cast(mask, "bool")
    _check_mask(mask, tuple(x.shape))
    count = ops.maximum(ops.sum(ops.cast(mask, x.dtype)), 1.0)
    return ops.sum(ops.where(mask, x, 0.0)) / count


def explained_variance(value, target, mask=None):
    """Predicted fraction of the targets' variance, `1 - Var[y - v] / Var[y]`.

    1 is perfect, 0 is as good as a constant, negative is worse. NaN if the targets do
    not vary.

    Args:
        value: `[...]` float, predictions.
        target: `[...]` float of the same shape.
        mask: `[...]` bool or None, False for elements to leave out.

    Returns:
        `[]` float.

    Example:
    >>> round(float(explained_variance([1.0, 2.0, 2.0], [1.0, 2.0, 3.0])), 4)
    0.6667
    """
    value, target = _as_float(value), _as_float(target)
    check_same_shape(value=value, target=target)
    target = ops.cast(target, value.dtype)
    residual = masked_moments(target - value, mask, feature_rank=0).variance
    total = masked_moments(target, mask, feature_rank=0).variance
    return ops.where(
        total > 0.0, 1.0 - residual / ops.maximum(total, 1e-30), float("nan")
    )


def standardized(x, mask=None):
    """`x` with mean 0 and standard deviation 1 over all its elements.

    Divided by the population's deviation. What does not vary, by more than rounding,
    becomes 0: constant elements, and one alone. Gradients flow to `x`.

    Args:
        x: `[...]` float or int.
        mask: `[...]` bool or None, False for elements to leave out, which become 0.

    Returns:
        `[...]` float.

    Example:
    >>> [round(float(z), 4) for z in standardized([3.0, 1.0, 1.0, 3.0])]
    [1.0, -1.0, -1.0, 1.0]
    >>> [float(z) for z in standardized([0.1, 0.1, 0.1])]
    [0.0, 0.0, 0.0]
    """
    x = _as_float(x)
    mask = ops.ones_like(x, dtype="bool") if mask is None else ops.cast(mask, "bool")
    _check_mask(mask, tuple(x.shape))
    middle = masked_mean(x, mask)  # off by some rounding, which a second mean finds
    x = ops.where(mask, x - middle, 0.0)
    moments = masked_moments(x, mask, feature_rank=0)
    size = ops.abs(ops.stop_gradient(middle))
    varies = mask & (moments.variance > (1e-6 * size) ** 2)
    variance = ops.where(varies, moments.variance, 1.0)  # no slope of a root at 0
    return ops.where(varies, (x - moments.mean) / ops.sqrt(variance), 0.0)


def _as_float(x):
    x = ops.convert_to_tensor(x)
    return x if x.dtype in ("float32", "float64") else ops.cast(x, "float32")


def _check_mask(mask, shape):
    received = tuple(mask.shape)
    known = len(received) == len(shape) and all(
        a == b or None in (a, b) for a, b in zip(received, shape, strict=True)
    )
    if not known:
        raise ValueError(f"Expected `mask` of shape {shape}. Received: {received}")


def global_norm(tensors):
    """Euclidean norm of all elements of a list of tensors taken together.

    As `tf.linalg.global_norm`, but fast in XLA programs too, which on CPU add up the
    elements of a tensor one by one. There the sixteen parts of each tensor are first
    added to each other elementwise, repeatedly, until few elements are left.

    Args:
        tensors: List of float tensors of static shapes, of one or several dtypes.

    Returns:
        Scalar, float64 if a tensor is, else float32; NaN or infinite if any element is.

    Example:
    >>> float(global_norm([tf.constant([3.0, 0.0]), tf.constant([[4.0]])]))
    5.0
    """
    double = any(tensor.dtype == "float64" for tensor in tensors)
    dtype = "float64" if double else "float32"
    tensors = [ops.cast(tensor, dtype) for tensor in tensors]
    if not in_xla_context():
        return tf.linalg.global_norm(tensors)
    return tf.sqrt(tf.add_n([_folded_sum(tf.square(tensor)) for tensor in tensors]))


def _folded_sum(tensor):
    """Sum over a tensor of static shape."""
    tensor = tf.reshape(tensor, [-1])
    while tensor.shape[0] >= 2 * _FOLDS:
        rows = tensor.shape[0] // _FOLDS
        rest = tensor[rows * _FOLDS :]
        parts = tf.unstack(tf.reshape(tensor[: rows * _FOLDS], [_FOLDS, rows]))
        tensor = tf.concat([tf.add_n(parts), rest], axis=0)
    return tf.reduce_sum(tensor)
