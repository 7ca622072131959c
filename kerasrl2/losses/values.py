"""Losses on state values. One value per sample; the caller weights and reduces."""

from keras import ops

from kerasrl2._checks import check_range
from kerasrl2.losses._inputs import floats, matched, scalar


def squared_error(value, target):
    """`(value - target)**2`. Only `value` receives a gradient.

    Args:
        value: `[...]` float, predictions in units of return.
        target: `[...]` float of the same shape, what they should have been.

    Returns:
        `[...]` float.

    Example:
    >>> [float(x) for x in squared_error(ops.array([1.0]), ops.array([3.0]))]
    [4.0]
    """
    value, target = matched(value=value, target=target)
    return (value - ops.stop_gradient(target)) ** 2


def value_loss(value, target, huber_delta=None):
    """Half the squared error, so that the slope is the error; or Huber's loss.

    Equation (9.3) of Sutton and Barto (2018),
    http://incompleteideas.net/book/the-book.html. Only `value` receives a gradient.

    Args:
        value: `[...]` float, predictions in units of return.
        target: `[...]` float of the same shape, for instance `lambda_returns`.
        huber_delta: Float > 0 or None, the error above which the loss is linear, see
            `huber`; None: nowhere.

    Returns:
        `[...]` float.

    Example:
    >>> value, target = ops.array([1.0]), ops.array([3.0])
    >>> float(value_loss(value, target)[0]), float(value_loss(value, target, 1.0)[0])
    (2.0, 1.5)
    """
    if huber_delta is None:
        return 0.5 * squared_error(value, target)
    value, target = matched(value=value, target=target)
    return huber(value - ops.stop_gradient(target), huber_delta)


def clipped_value_loss(value, old_value, target, clip_range=0.2):
    """The value loss of PPO implementations that limits how far a value may move.

    Section 3 of Engstrom et al. (2020), https://arxiv.org/abs/2005.12729:
    `max((V - y)**2, (clip(V, V_old - eps, V_old + eps) - y)**2) / 2`. Beyond the range
    the gradient is zero, unless `V` has moved away from `y`. Only `value` receives one.

    Args:
        value: `[...]` float, predictions in units of return.
        old_value: `[...]` float, predictions before the update began.
        target: `[...]` float.
        clip_range: Float > 0, the paper's `eps`, in units of return: choose it by the
            scale of the returns. Infinity does not clip.

    Returns:
        `[...]` float.

    Example:
    >>> value, old_value, target = ops.array([2.0]), ops.array([0.0]), ops.array([3.0])
    >>> [float(x) for x in clipped_value_loss(value, old_value, target, clip_range=1.0)]
    [2.0]
    """
    check_range("clip_range", clip_range, 0.0, open_low=True)
    value, old_value, target = matched(value=value, old_value=old_value, target=target)
    old_value = ops.stop_gradient(old_value)
    clipped = old_value + ops.clip(value - old_value, -clip_range, clip_range)
    return ops.maximum(value_loss(value, target), value_loss(clipped, target))


def huber(error, delta=1.0):
    """`error**2 / 2` up to `delta`, then linear.

    Equation (1) of Huber (1964), https://doi.org/10.1214/aoms/1177703732. Elementwise,
    unlike the functions of `keras.losses`. Gradients flow to `error` and lie in
    `[-delta, delta]`.

    Args:
        error: `[...]` float, for instance a TD error.
        delta: Float > 0, in the unit of `error`; infinity gives half the square.

    Returns:
        `[...]` float.

    Example:
    >>> [float(x) for x in huber(ops.array([0.5, 2.0]))]
    [0.125, 1.5]
    """
    check_range("delta", delta, 0.0, open_low=True)
    size = ops.abs(floats(error))
    delta = scalar(delta, size)
    far = size > delta
    # Neither branch squares, or multiplies by, what may be infinite.
    near = ops.where(far, ops.zeros_like(size), size)
    slope = ops.where(ops.isfinite(delta), delta, 0.0)
    return ops.where(far, slope * (size - 0.5 * slope), 0.5 * near**2)
