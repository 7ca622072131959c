"""Which way metrics are better, as Keras' callbacks look it up."""

import functools

import keras
import numpy as np

HIGHER = (
    "return",
    "success_rate",
    "is_success",
    "explained_variance",
    "eval_return",
    "eval_success_rate",
    "eval_is_success",
)


def directions(names):
    """What `Model.metrics` must hold for callbacks to infer `mode` from a log's name.

    Keras removes the prefix `val_` from a name itself. It has no opinion on episode
    lengths, nor has this: whether long episodes are good depends on the environment.

    Args:
        names: Sequence of strings, an agent's own metrics: those whose names end with
            `loss`, and `td_error`, are to be low.

    Returns:
        List of `keras.metrics.Metric`.
    """
    lower = [name for name in names if name.endswith("loss") or name == "td_error"]
    return list(_compiled(tuple(dict.fromkeys(lower))))


@functools.cache
def _compiled(lower):
    """The container of Keras' own that callbacks look into, of a model that has it."""
    metrics = [_Named(name, "up") for name in HIGHER]
    metrics += [_Named(name, "down") for name in lower if name not in HIGHER]
    layer = keras.layers.Identity(name="outputs")  # names: no automatic one is used up
    model = keras.Sequential([layer], name="directions")
    model.compile(metrics=metrics)
    one = np.ones([1, 1], np.float32)
    model.compute_metrics(one, one, one)  # Keras makes the container's list here
    named = (metric for metric in model.metrics if hasattr(metric, "metrics"))
    return tuple(named)


class _Named(keras.metrics.Metric):
    """A metric without a value of its own: `fit` reports what it is called.

    Args:
        name: String, of the log.
        direction: String, `"up"` or `"down"`, as Keras' own metrics have it.
    """

    def __init__(self, name, direction):
        super().__init__(name=name)
        self._direction = direction

    def update_state(self, *args, **kwargs):
        """Does nothing."""

    def result(self):
        return float("nan")

    def reset_state(self):
        """Does nothing."""
