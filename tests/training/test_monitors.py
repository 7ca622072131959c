"""Keras' own callbacks in epochs that end no episode."""

import csv
import math

import keras
import numpy as np
import pytest

from kerasrl2.training.monitors import Callbacks

NAN, STOCK = math.nan, keras.callbacks


def model():
    made = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    made.compile("sgd", "mse")
    made.stop_training = False
    return made


def told(callback, values, name="return"):
    """The model after epochs with these figures, and in which of them it went on."""
    watched = model()
    callbacks = Callbacks([callback], add_history=True, model=watched, epochs=9)
    callbacks.on_train_begin()
    played = 0
    for epoch, value in enumerate(values):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_train_batch_end(0, {name: value})
        watched.layers[0].bias.assign([float(epoch)])
        callbacks.on_epoch_end(epoch, {name: value, "episodes": 0.0})
        played = epoch + 1
        if watched.stop_training:
            break
    callbacks.on_train_end()
    history = watched.history.history[name]
    np.testing.assert_array_equal(history, values[:played])  # all are in the history
    return watched, played


STOPS = {
    "the issue's": ([NAN, NAN, 700.0, 800.0, 900.0], 5),
    "no better after it": ([NAN, NAN, 700.0, 600.0, 650.0, 690.0], 5),
    "between": ([700.0, NAN, NAN, NAN, 800.0, 1.0, NAN, 2.0, 900.0], 8),
    "never any": ([NAN] * 6, 6),
}


@pytest.mark.parametrize(("values", "played"), STOPS.values(), ids=STOPS)
def test_early_stopping(values, played):
    stop = STOCK.EarlyStopping(monitor="return", mode="max", patience=2)
    assert told(stop, values)[1] == played


def test_early_stopping_restores_the_best_epoch_that_had_a_return():
    stop = STOCK.EarlyStopping(
        monitor="return", mode="max", patience=9, restore_best_weights=True
    )
    watched, _ = told(stop, [NAN, 5.0, 9.0, NAN, 7.0])
    assert stop.best == 9.0
    assert float(watched.layers[0].bias[0]) == 2.0


@pytest.mark.parametrize("save_freq", ["epoch", 1])
def test_model_checkpoint(tmp_path, save_freq):
    path = str(tmp_path / "{epoch}.keras")
    best = STOCK.ModelCheckpoint(
        path, monitor="return", mode="max", save_best_only=True, save_freq=save_freq
    )
    told(best, [NAN, 5.0, NAN, 4.0, 6.0])
    assert {file.name for file in tmp_path.iterdir()} == {"2.keras", "5.keras"}
    assert best.best == 6.0


def test_model_checkpoint_of_all_epochs_saves_all(tmp_path):
    path = str(tmp_path / "{epoch}.keras")
    every = STOCK.ModelCheckpoint(path, monitor="return", mode="max")
    told(every, [NAN, 5.0])
    assert {file.name for file in tmp_path.iterdir()} == {"1.keras", "2.keras"}


def test_reduce_lr_on_plateau():
    reduce = STOCK.ReduceLROnPlateau(
        monitor="return", mode="max", patience=2, factor=0.5
    )
    watched, _ = told(reduce, [NAN, NAN, NAN, 5.0, NAN, NAN, 6.0])
    assert float(watched.optimizer.learning_rate) == np.float32(0.01)
    watched, _ = told(reduce, [5.0, NAN, 5.0, NAN, 5.0])
    assert float(watched.optimizer.learning_rate) == np.float32(0.005)


def test_csv_logger_has_the_column_from_the_first_epoch_on(tmp_path):
    path = tmp_path / "log.csv"
    told(STOCK.CSVLogger(str(path)), [NAN, 5.0, NAN])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["return"] for row in rows] == ["nan", "5.0", "nan"]


def test_a_loss_before_the_first_update_is_no_best_either():
    stop = STOCK.EarlyStopping(monitor="loss", patience=2)
    assert told(stop, [NAN, NAN, 3.0, 2.0, 1.0], "loss")[1] == 5


def test_other_callbacks_hear_of_all_epochs():
    epochs = []
    told(
        STOCK.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(logs)),
        [NAN, 5.0],
    )
    assert [set(logs) for logs in epochs] == [{"return", "episodes"}] * 2


def test_each_callback_sees_what_those_before_it_added():
    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["eval_return"] = [5.0, NAN, 4.0, 4.0][epoch]

    stop = STOCK.EarlyStopping(monitor="eval_return", mode="max", patience=2)
    watched = model()
    callbacks = Callbacks([Adds(), stop], model=watched)
    for epoch in range(4):
        assert not watched.stop_training
        callbacks.on_epoch_end(epoch, {"return": 1.0})
    assert watched.stop_training
