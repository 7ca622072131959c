"""Target networks of custom Keras models."""

import keras

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.callbacks._steps import gradient_steps
from kerasrl2.layers.targets import update_target


class TargetNetworkUpdate(keras.callbacks.Callback):
    """Moves `model.target_network` towards `model.q_network` every `interval` steps.

    For custom Keras models, such as those with `training.QLearningTrainStep` and
    `tau=None`; the library's agents do it themselves. Steps are gradient steps, counted
    by `optimizer.iterations`: a second `fit` or a loaded model continues the count.

    With `steps_per_execution=K`, Keras calls back after every `K` steps only: an update
    is made at the first call at or after its step, with the weights of that moment. If
    `n` updates are due at one call, they are made as one of rate `1 - (1 - tau)**n`.
    With an `interval` that is a multiple of `K` each one is on time.

    Args:
        interval: Integer >= 1, gradient steps between updates; the paper's `C`, Mnih et
            al. (2015), https://doi.org/10.1038/nature14236, algorithm 1.
        tau: Float in (0, 1], how far the target moves; 1 copies.

    Example:
    >>> import numpy as np
    >>> class Learner(keras.Sequential):
    ...     pass
    >>> model = Learner([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.q_network, model.target_network = model, keras.models.clone_model(model)
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(
    ...     np.ones([8, 1]),
    ...     np.ones(8),
    ...     batch_size=1,
    ...     callbacks=[TargetNetworkUpdate(interval=4)],
    ...     verbose=0,
    ... )
    >>> bool(np.all(model.get_weights()[0] == model.target_network.get_weights()[0]))
    True
    """

    def __init__(self, interval, tau=1.0):
        super().__init__()
        check_positive_integer("interval", interval)
        check_range("tau", tau, 0.0, 1.0, open_low=True)
        self.interval, self.tau = interval, tau
        self._due = 0

    def on_train_begin(self, logs=None):
        for name in ("q_network", "target_network"):
            if not isinstance(getattr(self.model, name, None), keras.Model):
                raise ValueError(
                    "Expected a model with networks `q_network` and `target_network`. "
                    f"Received: {type(self.model).__name__} without `{name}`"
                )
        if getattr(self.model, "tau", None) is not None:
            raise ValueError(
                "Expected a model with `tau=None`, which leaves its target network to "
                f"this callback. Received: tau={self.model.tau}"
            )
        self._due = self._count()

    def on_train_batch_end(self, batch, logs=None):
        due = self._count()
        number, self._due = due - self._due, due
        if number > 0:
            rate = 1.0 - (1.0 - self.tau) ** number
            update_target(self.model.target_network, self.model.q_network, rate)

    def _count(self):
        """Number of updates due since the optimizer's first step."""
        return gradient_steps(self.model) // self.interval
