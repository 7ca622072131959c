"""Tests of `kerasrl2.callbacks.ScheduleValue`, in `fit`."""

import keras
import numpy as np
import pytest

from kerasrl2.callbacks import ScheduleValue


class Scaled(keras.Model):
    """A model whose compiled step uses a variable: it logs what it saw."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.scale = self.add_weight(name="scale", initializer="zeros", trainable=False)
        self.seen = keras.metrics.Sum(name="seen")
        self.epsilon = 1.0

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        self.seen.update_state(self.scale)
        return {**super().train_step(data), "seen": self.seen.result()}


def fit(model, callback, epochs=1, **compiled):
    model.compile(keras.optimizers.SGD(0.5), loss="mse", **compiled)
    x = np.ones([12, 1], "f4")
    return model.fit(
        x, x, batch_size=2, epochs=epochs, callbacks=[callback], verbose=0
    ).history


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    ("steps_per_execution", "seen"),
    [(1, 0 + 1 + 2 + 3 + 4 + 5), (3, 3 * (0 + 3))],  # held for three steps
)
def test_compiled_steps_see_a_variable(jit_compile, steps_per_execution, seen):
    model = Scaled()
    history = fit(
        model, ScheduleValue("scale", lambda step: 5.0 + 10.0 * step),
        jit_compile=jit_compile, steps_per_execution=steps_per_execution,
    )  # fmt: skip
    np.testing.assert_allclose(history["seen"], [30.0 + 10.0 * seen])
    np.testing.assert_allclose(history["scale"], [65.0])


def test_an_attribute_is_replaced():
    model = Scaled()
    decay = keras.optimizers.schedules.PolynomialDecay(1.0, 12, 0.4)
    history = fit(model, ScheduleValue("epsilon", decay), epochs=3)
    np.testing.assert_allclose(history["epsilon"], [0.7, 0.4, 0.4], rtol=1e-6)
    assert isinstance(model.epsilon, float)


def test_a_path_and_the_optimizers_rate():
    model = Scaled()
    history = fit(model, ScheduleValue("optimizer.learning_rate", lambda s: 0.1 * s))
    np.testing.assert_allclose(history["optimizer.learning_rate"], [0.6], rtol=1e-6)
    np.testing.assert_allclose(model.optimizer.learning_rate, 0.6, rtol=1e-6)


def test_goes_on_where_the_optimizer_is():
    model = Scaled()
    callback = ScheduleValue("epsilon", lambda step: step / 100.0)
    fit(model, callback)
    x = np.ones([4, 1], "f4")
    model.fit(x, x, batch_size=2, callbacks=[callback], verbose=0)
    assert model.epsilon == 0.08


def test_bad_input():
    with pytest.raises(ValueError, match=r"PolynomialDecay\(.*Received: 0.5"):
        ScheduleValue("epsilon", 0.5)
    with pytest.raises(ValueError, match=r"attribute of Scaled\. Received: 'epsilom'"):
        fit(Scaled(), ScheduleValue("epsilom", lambda step: 1.0))


class Several:
    """What the callback needs of an agent with several optimizers."""

    optimizer = None
    epsilon = 1.0

    def __init__(self, *iterations):
        self.made = [keras.optimizers.SGD() for _ in iterations]
        for optimizer, count in zip(self.made, iterations, strict=True):
            optimizer.iterations.assign(count)

    def optimizers(self):
        return {str(i): (optimizer, []) for i, optimizer in enumerate(self.made)}


def test_of_several_optimizers_the_first_one_counts():
    callback = ScheduleValue("epsilon", lambda step: step / 10.0)
    model = Several(3, 8)
    callback.set_model(model)
    callback.on_train_begin()
    assert model.epsilon == 0.3
    model.made[0].iterations.assign(5)
    callback.on_train_batch_end(0)
    assert model.epsilon == 0.5


def test_a_model_without_optimizer():
    model = Scaled()
    for callback in (ScheduleValue("epsilon", float),):
        callback.set_model(model)
        with pytest.raises(
            ValueError, match=r"`compile`.*Received: Scaled without one"
        ):
            callback.on_train_begin()
    assert model.epsilon == 1.0
