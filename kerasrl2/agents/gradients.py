"""Gradients of a loss, with what networks add to it, and guarded steps along them."""

import tensorflow as tf

from kerasrl2._control import run_if
from kerasrl2.agents.regularization import Regularization
from kerasrl2.statistics import global_norm
from kerasrl2.types import Gradients


def differentiate(loss_function, variables, layers=(), owner="the loss function"):
    """`Gradients` of a function that returns `(loss, metrics)`; writes nothing.

    Losses that the layers have of their own, regularizers and `add_loss`, are added to
    the loss; their sum is the metric `regularization`.

    Args:
        loss_function: Callable without arguments.
        variables: List of Keras variables.
        layers: Sequence of the Keras layers and models that these variables are of.
        owner: String, whose function it is, for messages.

    Raises:
        ValueError: The function returned something else, or a loss that depends on none
            of the variables.
    """
    values = [variable.value for variable in variables]
    own = Regularization(layers, variables)
    with tf.GradientTape() as tape:
        loss, metrics = _checked(loss_function(), owner)
        more = own.total(loss.dtype)
        if more is not None:
            loss, metrics = loss + more, {**metrics, "regularization": more}
    gradients = tape.gradient(loss, values)
    if all(gradient is None for gradient in gradients):
        names = ", ".join(variable.path for variable in variables[:3])
        raise ValueError(
            f"Expected a loss that depends on the trainable weights. Received: {owner} "
            f"returned one without a gradient for any of the {len(variables)} weights "
            f"({names}, ...). What it is computed from must not pass `stop_gradient`, "
            f"`argmax`, NumPy or integers."
        )
    gradients = [
        tf.zeros_like(value) if gradient is None else gradient
        for gradient, value in zip(gradients, values, strict=True)
    ]
    return Gradients(loss, global_norm(gradients), gradients, metrics)


def take_step(optimizer, variables, gradients, max_norm, guard, number, xla):
    """Clips and applies gradients, unless something is not finite or was before.

    Args:
        optimizer: Keras optimizer.
        variables: List of Keras variables, as the gradients'.
        gradients: `Gradients`.
        max_norm: Scalar or None, the global norm they are clipped to.
        guard: `Guard`, which hears of what is not finite.
        number: Integer, the optimizer's, for the guard's report.
        xla: Boolean, whether XLA may compile the step within a graph: op by op an
            optimizer is slow, whatever compiles the rest of an update.
    """
    guard.report_step(gradients.loss, gradients.norm, number)

    def step(healthy, norm, limit, values):
        def apply(scale):
            scaled = [value * tf.cast(scale, value.dtype) for value in values]
            optimizer.apply(scaled, variables)

        run_if(healthy, apply, tf.minimum(tf.ones_like(norm), limit / (norm + 1e-6)))

    norm = gradients.norm
    limit = tf.constant(norm.dtype.max, norm.dtype)
    limit = limit if max_norm is None else tf.cast(max_norm, norm.dtype)
    if xla and tf.inside_function():
        step = tf.function(step, jit_compile=True, autograph=False)
    step(guard.is_healthy(), norm, limit, gradients.values)


def _checked(returned, owner):
    """`(loss, metrics)` as a scalar tensor and a dictionary, or one error."""
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
