"""Tests of `kerasrl2.callbacks.TargetNetworkUpdate`, in `fit`."""

import keras
import numpy as np
import pytest

from kerasrl2.callbacks import TargetNetworkUpdate
from tests.training.learners import TARGET, learner, repeated, two_rows

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


class Copies(keras.callbacks.Callback):
    """Notes after which gradient steps the target network is the Q-network."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        networks = self.model.target_network, self.model.q_network
        target, online = (network.get_weights()[0] for network in networks)
        if np.array_equal(target, online):
            self.steps.append(int(self.model.optimizer.iterations))


def copies(model, steps, **arguments):
    seen = Copies()
    model.fit(
        repeated(two_rows(), steps),
        callbacks=[TargetNetworkUpdate(**arguments), seen],
        shuffle=False,
        verbose=0,
    )
    return seen.steps


def test_copies_on_time_and_goes_on_in_phase(tmp_path):
    model = learner()
    assert copies(model, 8, interval=3) == [3, 6]
    assert copies(model, 5, interval=3) == [9, 12]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert copies(loaded, 4, interval=3) == [15]


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.long)]
)
def test_steps_per_execution(jit_compile):
    """Calls come after 4, 8, 12, 14 steps; due are 3, 6, 9, 12."""
    compiled = {"steps_per_execution": 4, "jit_compile": jit_compile}
    assert copies(learner(compiled=compiled), 14, interval=3) == [4, 8, 12]
    assert copies(learner(compiled=compiled), 14, interval=8) == [8]


def test_soft_updates_by_hand():
    """Two that fall due at once: 1 - (1 - 0.5)^2 of the way."""
    model = learner(
        optimizer=keras.optimizers.SGD(0.0), compiled={"steps_per_execution": 4}
    )
    copies(model, 4, interval=2, tau=0.5)
    q, target = model.q_network.get_weights()[0], np.float32(TARGET)
    now = model.target_network.get_weights()[0]
    np.testing.assert_allclose(now, target + 0.75 * (q - target), rtol=1e-6)


def test_without_the_callback_nothing_moves():
    model = learner()
    model.fit(repeated(two_rows(), 3), shuffle=False, verbose=0)
    np.testing.assert_array_equal(model.target_network.get_weights()[0], TARGET)


def test_bad_input():
    with pytest.raises(ValueError, match="`interval`"):
        TargetNetworkUpdate(0)
    with pytest.raises(ValueError, match="`tau`"):
        TargetNetworkUpdate(1, tau=0.0)
    with pytest.raises(ValueError, match="`tau=None`"):
        copies(learner(tau=0.1), 1, interval=1)
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    x = np.ones([2, 1])
    with pytest.raises(ValueError, match="Sequential without `q_network`"):
        model.fit(x, x, callbacks=[TargetNetworkUpdate(1)], verbose=0)
