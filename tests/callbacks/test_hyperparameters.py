"""What TensorBoard's page HPARAMS reads."""

import keras
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from kerasrl2.agents import A2C, DQN
from kerasrl2.callbacks import LogHyperparameters, hyperparameters_of

SMALL = {"hidden": (4,), "seed": 3, "xla": False}


def shown(directory):
    """`(settings, status)` of the session in a directory, as TensorBoard reads them."""
    events = EventAccumulator(str(directory)).Reload()
    content = events.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(
        content[metadata.SESSION_START_INFO_TAG]
    )
    kinds = {name: value.WhichOneof("kind") for name, value in start.hparams.items()}
    settings = {name: getattr(start.hparams[name], kinds[name]) for name in kinds}
    if metadata.SESSION_END_INFO_TAG not in content:
        return settings, None
    end = metadata.parse_session_end_info_plugin_data(
        content[metadata.SESSION_END_INFO_TAG]
    )
    return settings, end.status


@pytest.fixture(scope="module")
def agent():
    made = A2C.for_env("CartPole-v1", gamma=0.75, **SMALL)
    yield made
    made.close()


def test_a_run_shows_its_settings_and_that_it_has_ended(agent, tmp_path):
    more = {"env": "CartPole-v1", "hidden": [4, 4], "batch_size": None, "gamma": 0.5}
    callback = LogHyperparameters(tmp_path, more)
    callback.on_train_end()  # of a run that has not begun
    callback.set_model(agent)
    callback.on_train_begin()
    settings, status = shown(tmp_path)
    assert settings["algorithm"] == "A2C"
    assert settings["gamma"] == 0.5  # what is given wins
    assert (settings["env"], settings["hidden"]) == ("CartPole-v1", "[4, 4]")
    assert settings["learning_rate"] == pytest.approx(7e-4)
    assert (settings["seed"], settings["normalize_advantages"]) == (3.0, False)
    assert "batch_size" not in settings
    assert status is None
    callback.on_train_end()
    assert shown(tmp_path)[1] == 1  # success


@pytest.mark.long
def test_it_stands_beside_tensorboard(agent, tmp_path):
    callbacks = [
        keras.callbacks.TensorBoard(tmp_path, write_graph=False),
        LogHyperparameters(tmp_path),
    ]
    agent.fit("CartPole-v1", steps=80, epochs=1, callbacks=callbacks, verbose=0)
    assert shown(tmp_path)[0]["gamma"] == 0.75
    tags = EventAccumulator(str(tmp_path / "train")).Reload().Tags()["tensors"]
    assert "epoch_return" in tags


def test_settings_for_other_loggers_are_plain(agent):
    found = hyperparameters_of(agent)
    kinds = bool | int | float | str | None
    assert all(isinstance(value, kinds) for value in found.values())
    assert (found["gamma"], found["algorithm"]) == (0.75, "A2C")
    other = hyperparameters_of(DQN.for_env("CartPole-v1", **SMALL))
    assert other["algorithm"] == "DQN"
    assert "epsilon" not in other
