"""Gradients of a minibatch that is computed in several parts, to fit into memory."""

import contextlib
import contextvars

import tensorflow as tf

from kerasrl2.statistics import global_norm
from kerasrl2.types import Gradients

_is_part = contextvars.ContextVar("is_part", default=False)


def is_part():
    """Whether the loss that is being traced is that of a part of a minibatch.

    What needs all of its rows, such as the moments of advantages, has been done then.
    """
    return _is_part.get()


def accumulate(function, batch, seeds, count, steps):
    """Gradients of a batch, computed in `steps` parts, one after another.

    The mean over a batch is the mean of its parts' means, weighted by the number of
    rows that count in each. Losses that are such means have the same gradients as those
    of the whole batch, up to rounding; so have metrics. A sum, or a mean of parts of
    unequal size without weights, has not.

    Args:
        function: Callable that takes rows of the batch and a `[2]` int32 seed and
            returns their `types.Gradients`. Metrics that are not scalars have one entry
            a row.
        batch: Nest of tensors `[rows, ...]` of static shapes.
        seeds: Callable that returns the seed of a part, from its number, a scalar.
        count: Callable that returns how many rows of a part count, a scalar.
        steps: Integer, number of parts. Where it does not divide `rows` the last one is
            smaller.

    Returns:
        `types.Gradients`, with the norm of the whole.

    Raises:
        ValueError: There are fewer rows than parts.

    Example:
    >>> x, w = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.Variable(1.0)
    >>> def of_part(x, seed):
    ...     with tf.GradientTape() as tape:
    ...         loss = tf.reduce_mean((w * x) ** 2)
    ...     return Gradients(loss, tf.zeros([]), [tape.gradient(loss, w)], {})
    >>> rows = lambda x: tf.shape(x)[0]
    >>> float(accumulate(of_part, x, lambda i: tf.zeros([2], tf.int32), rows, 3).norm)
    15.0
    """
    rows = tf.nest.flatten(batch)[0].shape[0]
    if rows < steps:
        raise ValueError(
            f"Expected minibatches of at least `accumulation_steps` rows. Received: "
            f"{rows} rows, accumulation_steps={steps}"
        )
    size = -(-rows // steps)
    whole = rows // size
    parts = tf.nest.map_structure(
        lambda x: tf.reshape(x[: whole * size], [whole, size, *x.shape[1:]]), batch
    )
    total = tf.cast(count(batch), tf.float32)

    def weighted(part, index):
        """Gradients of a part times its share, and metrics with one entry a row."""
        with as_part():
            found = function(part, seeds(index))
        share = tf.cast(count(part), tf.float32) / tf.maximum(total, 1.0)
        # Where no row counts there are only losses that the layers have of their own.
        share = tf.where(total > 0.0, share, _rows(part) / rows)
        scalars, of_rows = _divided(found.metrics)
        summed = found.loss, found.values, scalars
        scaled = tf.nest.map_structure(lambda x: x * tf.cast(share, x.dtype), summed)
        return scaled, of_rows

    first = tf.nest.map_structure(lambda x: x[0], parts)
    sums, of_rows = _zeros(lambda: weighted(first, 0))
    arrays = {
        name: tf.TensorArray(x.dtype, whole, element_shape=x.shape)
        for name, x in of_rows.items()
    }

    def step(index, sums, arrays):
        part = tf.nest.map_structure(lambda x: tf.gather(x, index), parts)
        more, of_rows = weighted(part, index)
        sums = tf.nest.map_structure(tf.add, sums, more)
        arrays = {name: arrays[name].write(index, x) for name, x in of_rows.items()}
        return index + 1, sums, arrays

    _, sums, arrays = tf.while_loop(
        lambda index, *_: index < whole,
        step,
        (0, sums, arrays),
        parallel_iterations=1,
    )
    of_rows = {
        name: tf.reshape(array.stack(), [whole * size, *of_rows[name].shape[1:]])
        for name, array in arrays.items()
    }
    if rows > whole * size:
        rest = tf.nest.map_structure(lambda x: x[whole * size :], batch)
        more, last = weighted(rest, whole)
        sums = tf.nest.map_structure(tf.add, sums, more)
        of_rows = {n: tf.concat([x, last[n]], axis=0) for n, x in of_rows.items()}
    loss, values, scalars = sums
    return Gradients(loss, global_norm(values), values, {**scalars, **of_rows})


@contextlib.contextmanager
def as_part():
    """Traces losses as those of a part of a minibatch, see `is_part`."""
    token = _is_part.set(True)
    try:
        yield
    finally:
        _is_part.reset(token)


def _rows(batch):
    return tf.nest.flatten(batch)[0].shape[0]


def _divided(metrics):
    """Metrics that are scalars, as float32, and those with one entry a row."""
    tensors = {name: tf.convert_to_tensor(value) for name, value in metrics.items()}
    scalars = {
        name: tf.cast(x, tf.float32) for name, x in tensors.items() if not x.shape.rank
    }
    return scalars, {name: x for name, x in tensors.items() if x.shape.rank}


def _zeros(function):
    """Zeros of the structure of `function()`, which is traced, not run."""
    traced = tf.function(function, autograph=False).get_concrete_function()
    return tf.nest.map_structure(
        lambda x: tf.zeros(x.shape, x.dtype), traced.structured_outputs
    )
