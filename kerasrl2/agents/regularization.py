"""Losses that networks have of their own: regularizers and `add_loss`."""

import types

import tensorflow as tf

from kerasrl2._private import layers_of

_LIBRARIES = {"keras", "kerasrl2", "tensorflow"}


class Regularization:
    """What networks add to a loss, found while it is computed.

    Made before the loss, it tells what a call of the networks leaves behind from what
    an earlier one left. Networks without losses cost nothing.

    Args:
        layers: Sequence of Keras layers and models.
        variables: List of the Keras variables that are trained: their regularizers
            count, and what is added by the layers that hold one of them.

    Attributes:
        possible: Boolean, whether there can be any.
    """

    def __init__(self, layers, variables):
        self._variables = [v for v in variables if v.regularizer is not None]
        trained = {id(variable) for variable in variables}
        self._adding = [
            layer
            for layer in layers
            if any(id(variable) in trained for variable in layer.trainable_variables)
            and any(map(adds_losses, layers_of(layer)))
        ]
        self.possible = bool(self._variables or self._adding)
        self._before = [loss for layer in self._adding for loss in _added(layer)]

    def added_to(self, loss, metrics):
        """Loss and metrics with the sum of all, as the metric `regularization`.

        Args:
            loss: Scalar float.
            metrics: Dictionary; it gets no such metric where there are none.
        """
        own = [variable.regularizer(variable) for variable in self._variables]
        added = [one for layer in self._adding for one in _added(layer)]
        new = {id(one): one for one in added}
        for known in self._before:
            new.pop(id(known), None)
        for one in new.values():
            _check_in_scope(one)
        if not own and not new:
            return loss, metrics
        parts = (*own, *new.values())
        total = tf.add_n([tf.cast(tf.reduce_sum(one), loss.dtype) for one in parts])
        return loss + total, {**metrics, "regularization": total}


def has_losses(layers, variables):
    """Whether `Regularization` of the same arguments can come to anything."""
    own = Regularization(layers, variables)
    return own.possible


def _added(layer):
    """Losses of a layer, and those within it, that are no regularizers of weights.

    Those come last in what Keras lists.
    """
    regularized = [w for w in layer.trainable_weights if w.regularizer is not None]
    losses = layer.losses
    return losses[: len(losses) - len(regularized)]


def adds_losses(layer):
    """Whether a call of a layer may add a loss."""
    if getattr(layer, "activity_regularizer", None) is not None:
        return True
    return any(
        _mentions(function.__code__, "add_loss")
        for owner in type(layer).__mro__
        if owner.__module__.partition(".")[0] not in _LIBRARIES
        for function in vars(owner).values()
        if isinstance(function, types.FunctionType)
    )


def _mentions(code, name):
    """Whether a function, or one within it, uses an attribute of that name."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return name in code.co_names or any(_mentions(one, name) for one in inner)


def _check_in_scope(loss):
    """Raises on a loss that was added within a loop and is lost outside of it."""
    graph = getattr(loss, "graph", None)
    if (
        tf.executing_eagerly()
        or graph is None
        or graph is tf.compat.v1.get_default_graph()
    ):
        return
    raise ValueError(
        "Expected layers that add losses to be called once for a batch. Received: a "
        "loss of `add_loss` or of an activity regularizer from within a loop over the "
        "steps of a rollout, as a policy that remembers is called. Regularize the "
        "weights instead, or add the loss in `compute_loss`."
    )
