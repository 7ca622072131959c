"""A gradient step in two halves: what it computes, and what it writes."""

import keras
import tensorflow as tf

from kerasrl2._control import run_if
from kerasrl2.statistics import global_norm
from kerasrl2.types import Gradients


def differentiate(agent, batch):
    """`Gradients` of `agent.compute_loss`."""
    values = [variable.value for variable in agent.trainable_variables]
    with tf.GradientTape() as tape:
        loss, metrics = agent.compute_loss(batch)
    gradients = tape.gradient(loss, values, unconnected_gradients="zero")
    return Gradients(loss, global_norm(gradients), gradients, dict(metrics))


def take_step(agent, gradients):
    """Clips and applies gradients, unless something is not finite."""

    def step(loss, norm, values):
        scale = tf.ones_like(norm)
        if agent.max_gradient_norm is not None:
            scale = tf.minimum(scale, agent.max_gradient_norm / (norm + 1e-6))

        def apply(scale):
            scaled = [value * scale for value in values]
            agent.optimizer.apply(scaled, agent.trainable_variables)

        run_if(tf.math.is_finite(norm) & tf.math.is_finite(loss), apply, scale)

    if agent.xla is not False and tf.inside_function():
        # Op by op an optimizer is slow, whatever compiles the rest of the update.
        step = tf.function(step, jit_compile=True, autograph=False)
    step(gradients.loss, gradients.norm, gradients.values)


def refuse_loss_scaling(optimizer):
    """Raises on loss-scaling optimizers: what is clipped are unscaled gradients."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "Expected an optimizer without loss scaling: gradients are clipped before "
            "it. Received: LossScaleOptimizer. Use the 'mixed_bfloat16' policy instead."
        )
