"""Gradient steps in two halves: what is computed, and what is written."""

import keras
import tensorflow as tf

from kerasrl2._control import run_if
from kerasrl2.schedules import Schedule
from kerasrl2.statistics import global_norm
from kerasrl2.types import Gradients


def differentiate(loss_function, variables):
    """`Gradients` of a function that returns `(loss, metrics)`; writes nothing.

    Args:
        loss_function: Callable without arguments.
        variables: List of Keras variables.
    """
    values = [variable.value for variable in variables]
    with tf.GradientTape() as tape:
        loss, metrics = loss_function()
    gradients = tape.gradient(loss, values, unconnected_gradients="zero")
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
            optimizer.apply([value * scale for value in values], variables)

        run_if(healthy, apply, tf.minimum(tf.ones_like(norm), limit / (norm + 1e-6)))

    norm = gradients.norm
    limit = tf.constant(norm.dtype.max, norm.dtype)
    limit = limit if max_norm is None else tf.cast(max_norm, norm.dtype)
    if xla and tf.inside_function():
        step = tf.function(step, jit_compile=True, autograph=False)
    step(guard.is_healthy(), norm, limit, gradients.values)


def check_optimizer(optimizer):
    """Raises on what cannot take steps, and on loss scaling: clipping is unscaled."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"Expected a Keras optimizer. Received: {optimizer!r:.100}, a "
            f"{type(optimizer).__name__}"
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "Expected an optimizer without loss scaling: gradients are clipped before "
            "it. Received: LossScaleOptimizer. Use the 'mixed_bfloat16' policy instead."
        )


def rate_of(optimizer):
    """The learning rate of an optimizer: a number, or its schedule."""
    rate = optimizer.get_config()["learning_rate"]
    if isinstance(rate, dict):
        return keras.saving.deserialize_keras_object(rate)
    return rate


def with_rate(optimizer, rate, variables):
    """The optimizer with another learning rate, a number or a Keras schedule.

    The same object where numbers replace each other. Otherwise, since optimizers of
    Keras keep the kind of rate they were made with, a new one with the same moments.
    """
    known = isinstance(optimizer.get_config()["learning_rate"], dict)
    if not known and not isinstance(rate, Schedule):
        optimizer.learning_rate = rate
        return optimizer
    config = {**optimizer.get_config(), "learning_rate": rate}
    changed = type(optimizer).from_config(config)
    changed.build(variables)
    moments = {v.path.partition("/")[2]: v for v in optimizer.variables}
    for variable in changed.variables:
        name = variable.path.partition("/")[2]
        if name in moments and name != "learning_rate":
            variable.assign(moments[name])
    return changed
