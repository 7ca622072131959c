"""Tests of `kerasrl2.training.progress`."""

import io
import math

import pytest
import rich

from kerasrl2.agents import A2C
from kerasrl2.training import progress
from kerasrl2.training.progress import EpochLines, ProgressBar, progress_callback


@pytest.fixture(scope="module")
def agent():
    hyperparameters = {"hidden": (), "rollout_length": 5, "num_envs": 2, "xla": False}
    return A2C.for_env("Chain-5", seed=0, **hyperparameters)


@pytest.fixture
def terminal(monkeypatch):
    """Rich writes to a terminal of 100 columns that is a string."""
    console = rich.console.Console(
        file=io.StringIO(), force_terminal=True, width=100, color_system=None
    )
    monkeypatch.setattr(rich, "_console", console)
    return console.file


@pytest.mark.parametrize(
    ("verbose", "kinds"),
    [
        (0, []),
        (False, []),
        (1, [ProgressBar]),
        (True, [ProgressBar]),
        (2, [EpochLines]),
    ],
)
def test_verbosity(verbose, kinds):
    assert [type(callback) for callback in progress_callback(verbose)] == kinds


@pytest.mark.parametrize(("isatty", "kind"), [(True, ProgressBar), (False, EpochLines)])
def test_auto_depends_on_the_terminal(monkeypatch, isatty, kind):
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: isatty, raising=False)
    assert isinstance(progress_callback("auto")[0], kind)


@pytest.mark.parametrize("verbose", [3, -1, "loud"])
def test_unknown_verbosity(verbose):
    with pytest.raises(ValueError, match=f"0, 1, 2 or 'auto'. Received: {verbose!r}"):
        progress_callback(verbose)


def test_figures_of_an_epoch():
    logs = {"return": 12.34, "episode_length": 15.6, "loss": 3.0}
    logs |= {"steps_per_second": 12345.6, "val_return": math.nan}
    assert progress.describe(logs) == (
        "return 12.3  val return -  episode length 16  12,346 steps/s"
    )


def test_one_line_an_epoch(agent, capsys):
    agent.env_steps.assign(0)
    agent.fit("Chain-5", steps=40, epochs=2, verbose=2)
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  20 steps  return ")
    assert lines[1].startswith("epoch 2/2  40 steps  return ")
    assert lines[1].endswith("steps/s")


def test_a_bar_on_a_terminal(agent, terminal):
    agent.env_steps.assign(1000)  # the bar is of this call's steps
    agent.fit("Chain-5", steps=40, epochs=2, verbose=1)
    written = terminal.getvalue()
    assert "epoch 1/2  1,020 steps  return" in written
    assert "epoch 2/2  1,040 steps  return" in written
    assert "40/40" in written
    assert "training" in written
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # cursor


def test_the_terminal_is_given_back_when_a_run_is_interrupted(agent, terminal):
    class Interrupt(progress.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        agent.fit("Chain-5", steps=40, epochs=2, verbose=1, callbacks=[Interrupt()])
    assert terminal.getvalue().count("\x1b[?25h") == 1
