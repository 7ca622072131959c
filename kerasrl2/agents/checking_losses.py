"""Checks of losses: what they return, and that weights can learn from them."""

import tensorflow as tf


def checked_loss(returned, owner):
    """What a loss function returned: a scalar tensor and a dictionary of metrics.

    Args:
        returned: Anything.
        owner: String, whose function it is, for the message.

    Raises:
        ValueError: It is no `(loss, metrics)`.
    """
    pair = isinstance(returned, tuple | list) and len(returned) == 2
    if pair and isinstance(returned[1], dict) and not isinstance(returned[0], dict):
        try:
            loss = tf.convert_to_tensor(returned[0])
        except (TypeError, ValueError):
            loss = None
        scalar = loss is not None and loss.shape.rank in (0, None)
        missing = [name for name, value in returned[1].items() if value is None]
        if scalar and loss.dtype.is_floating and not missing:
            return loss, returned[1]
    raise ValueError(
        f"Expected {owner} to return `(loss, metrics)`: a floating-point scalar and a "
        f"dictionary of names to tensors. Received: {_described(returned)}. "
        f"Reduce the loss of a batch by `tf.reduce_mean`; without metrics return "
        f"`loss, {{}}`."
    )


def check_dependence(gradients, variables, owner):
    """Raises where a loss depends on none of the variables.

    Args:
        gradients: List of tensors, or None for a variable it does not depend on.
        variables: List of Keras variables.
        owner: String, whose function it is, for the message.
    """
    if any(gradient is not None for gradient in gradients):
        return
    names = ", ".join(variable.path for variable in variables[:3])
    raise ValueError(
        f"Expected a loss that depends on the trainable weights. Received: {owner} "
        f"returned one without a gradient for any of the {len(variables)} weights "
        f"({names}, ...). What it is computed from must not pass `stop_gradient`, "
        f"`argmax`, NumPy or integers."
    )


def _described(value):
    """A nest of what a function returned, in few words."""
    if isinstance(value, dict):
        items = (f"{key!r}: {_described(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, tuple | list):
        items = ", ".join(map(_described, value[:4]))
        return f"({items}{', ...' if len(value) > 4 else ''})"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        dtype = getattr(value.dtype, "name", value.dtype)
        return f"{dtype} of shape {tuple(value.shape)}"
    return f"{value!r:.60}"
