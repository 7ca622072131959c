"""Hyper-parameters that change over the gradient steps of `fit`."""

import operator

import keras

_EXAMPLE = "keras.optimizers.schedules.PolynomialDecay(1.0, 10_000, 0.1)"


class ScheduleValue(keras.callbacks.Callback):
    """Sets a value of the model from a schedule over gradient steps.

    Before each batch the value is `schedule(optimizer.iterations)`; with
    `steps_per_execution=K` it holds for `K` steps. Variables and an agent's numeric
    hyper-parameters are assigned, and compiled functions use the new value. Any other
    attribute is replaced by a float, but compiled functions keep the value they were
    traced with. The value is added to the epoch's logs under its name.

    Args:
        name: String, an attribute of the model, or a path to one such as
            `"optimizer.learning_rate"`.
        schedule: Callable from gradient steps to a number, for instance one of
            `keras.optimizers.schedules`.

    Example:
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", loss="mse")
    >>> model.epsilon = 1.0
    >>> decay = keras.optimizers.schedules.PolynomialDecay(1.0, 4, 0.2)
    >>> x = keras.ops.ones([8, 1])
    >>> callback = ScheduleValue("epsilon", decay)
    >>> history = model.fit(x, x, batch_size=4, callbacks=[callback], verbose=0)
    >>> round(model.epsilon, 4)
    0.6
    """

    def __init__(self, name, schedule):
        super().__init__()
        if not callable(schedule):
            raise ValueError(
                f"Expected `schedule` to be callable, such as {_EXAMPLE}. "
                f"Received: {schedule!r}"
            )
        self.name, self.schedule = name, schedule

    def on_train_begin(self, logs=None):
        try:
            operator.attrgetter(self.name)(self.model)
        except AttributeError as error:
            raise ValueError(
                f"Expected `name` to be an attribute of {type(self.model).__name__}. "
                f"Received: {self.name!r}"
            ) from error
        self._set()

    def on_train_batch_end(self, batch, logs=None):
        self._set()

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs[self.name] = float(operator.attrgetter(self.name)(self.model))

    def _set(self):
        value = float(self.schedule(int(self.model.optimizer.iterations)))
        path, _, name = self.name.rpartition(".")
        owner = operator.attrgetter(path)(self.model) if path else self.model
        current = getattr(owner, name)
        if hasattr(current, "assign"):
            current.assign(value)
        else:
            setattr(owner, name, value)
