"""Keras' callbacks know without `mode` which way an agent's logs are better."""

import keras
import numpy as np
import pytest

from kerasrl2 import load_agent
from kerasrl2.agents import A2C, DQN
from kerasrl2.agents.directions import directions

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

SETTINGS = {"hidden": (4,), "seed": 0, "xla": False}
LOGS = {  # of four epochs
    "return": [1.0, 3.0, 2.0, 0.0],
    "val_return": [1.0, 2.0, 2.0, 2.0],
    "success_rate": [0.1, 0.2, 0.3, 0.4],
    "policy_loss": [4.0, 3.0, 2.0, 1.0],
}


class Scripted(keras.callbacks.Callback):
    """Puts values into the logs that later callbacks see."""

    def on_epoch_end(self, epoch, logs=None):
        logs.update({name: values[epoch] for name, values in LOGS.items()})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """`(agent, callbacks by name, the checkpoint's path)` of one short run."""
    path = tmp_path_factory.mktemp("best") / "best.keras"
    of_keras = keras.callbacks
    callbacks = {
        "stopping": of_keras.EarlyStopping("val_return", patience=2),
        "checkpoint": of_keras.ModelCheckpoint(
            path, monitor="return", save_best_only=True
        ),
        "rising": of_keras.ReduceLROnPlateau("success_rate", patience=1, factor=0.5),
        "falling": of_keras.ReduceLROnPlateau("policy_loss", patience=1, factor=0.5),
        "level": of_keras.ReduceLROnPlateau("val_return", patience=2, factor=0.1),
    }
    agent = A2C.for_env("CartPole-v1", learning_rate=0.01, **SETTINGS)
    agent.fit(
        "CartPole-v1", steps=4 * 80, epochs=4, verbose=0,
        callbacks=[Scripted(), *callbacks.values()],
    )  # fmt: skip
    return agent, callbacks, path


@pytest.mark.long
def test_early_stopping_waits_for_higher_returns(fitted):
    callback = fitted[1]["stopping"]
    assert (callback.best, callback.best_epoch, callback.stopped_epoch) == (2.0, 1, 3)


def test_the_checkpoint_is_that_of_the_highest_return(fitted):
    _, callbacks, path = fitted
    assert callbacks["checkpoint"].best == 3.0
    assert int(load_agent(path).env_steps) == 2 * 80


def test_the_learning_rate_falls_where_nothing_improves_only(fitted):
    """Neither the rate of success that rises nor the loss that falls is a plateau."""
    np.testing.assert_allclose(fitted[0].learning_rate, 0.01 * 0.1, rtol=1e-6)


@pytest.fixture(scope="module")
def agents():
    made = {cls: cls.for_env("CartPole-v1", **SETTINGS) for cls in (A2C, DQN)}
    yield made
    for agent in made.values():
        agent.close()


@pytest.mark.parametrize(
    ("agent_class", "name", "best"),
    [
        (A2C, "return", 2.0),
        (A2C, "val_return", 2.0),
        (A2C, "eval_return", 2.0),
        (A2C, "val_success_rate", 2.0),
        (A2C, "explained_variance", 2.0),
        (A2C, "loss", 1.0),
        (A2C, "policy_loss", 1.0),
        (A2C, "value_loss", 1.0),
        (DQN, "loss", 1.0),
        (DQN, "td_error", 1.0),
        (DQN, "val_return", 2.0),
    ],
)
def test_the_better_of_one_and_two(agents, agent_class, name, best):
    callback = keras.callbacks.EarlyStopping(name)
    callback.set_model(agents[agent_class])
    callback.on_train_begin()
    callback.on_epoch_end(0, {name: 1.0})
    callback.on_epoch_end(1, {name: 2.0})
    assert callback.best == best


@pytest.mark.parametrize("name", ["episode_length", "entropy", "gradient_norm"])
def test_keras_asks_where_there_is_no_better(agents, name):
    callback = keras.callbacks.EarlyStopping(name)
    callback.set_model(agents[A2C])
    callback.on_train_begin()
    with pytest.raises(ValueError, match=r"Pass `mode='max'`"):
        callback.on_epoch_end(0, {name: 1.0})


def test_metrics_hold_nothing(agents):
    """What is in a file, and names that Keras gives, are as without them."""
    before = [variable.path for variable in agents[A2C].variables]
    assert agents[A2C].metrics[-1].variables == []
    assert [variable.path for variable in agents[A2C].variables] == before
    name = keras.Sequential().name
    directions(["new_loss"])
    directions(["newer_loss"])
    number = int(name.rpartition("_")[2]) if "_" in name else 0
    assert keras.Sequential().name == f"sequential_{number + 1}"
