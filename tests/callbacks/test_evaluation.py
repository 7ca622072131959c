"""Tests of `kerasrl2.callbacks` without a run; those with: `training/test_fit.py`."""

import keras
import pytest

from kerasrl2 import callbacks


class FakeAgent:
    """Counts its evaluations."""

    stop_training = False

    def __init__(self):
        self.calls = []

    def evaluate(self, env, episodes, **settings):
        self.calls.append((env, episodes, settings))
        score = float(len(self.calls))
        return {
            "return": score,
            "return_std": 0.5,
            "episode_length": 9.0,
            "episodes": 4,
        }


def attached(callback):
    callback.set_model(FakeAgent())
    return callback


def test_all_are_keras_callbacks():
    for name in (name for name in callbacks.__all__ if name[0].isupper()):
        assert issubclass(getattr(callbacks, name), keras.callbacks.Callback)


@pytest.mark.parametrize(
    ("every", "scores", "calls"), [(1, [1, 2, 3, 4, 5], 5), (2, [1, 1, 2, 2, 3], 3)]
)
def test_evaluate_return_repeats_its_latest_figures(every, scores, calls):
    callback = attached(callbacks.EvaluateReturn("Env", 4, every, False, seed=7))
    logs = [{} for _ in range(5)]
    for epoch, log in enumerate(logs):
        callback.on_epoch_end(epoch, log)
    assert [log["eval_return"] for log in logs] == scores
    assert logs[0]["eval_return_std"] == 0.5
    assert logs[0]["eval_episode_length"] == 9.0
    expected = ("Env", 4, {"greedy": False, "seed": 7})
    assert callback.model.calls == [expected] * calls


def test_evaluate_return_in_the_middle_of_a_count():
    """With `initial_epoch` 3 there is nothing to repeat at epoch 3."""
    callback, logs = attached(callbacks.EvaluateReturn("Env", every=2)), {}
    callback.on_epoch_end(3, logs)
    assert logs["eval_return"] == 1.0


@pytest.mark.parametrize(
    ("value", "stops"),
    [(9.9, False), (10.0, True), (11.0, True), (float("nan"), False)],
)
def test_stop_at_return(value, stops):
    callback = attached(callbacks.StopAtReturn(10.0))
    callback.on_epoch_end(0, {"val_return": value})
    assert callback.model.stop_training is stops
