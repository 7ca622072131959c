"""Tests of `kerasrl2.training.progress`."""

import io
import math
import re
import types

import pytest
import rich

from kerasrl2 import _lines as lines_module
from kerasrl2._lines import Table, figure
from kerasrl2.agents import A2C
from kerasrl2.training import progress
from kerasrl2.training.progress import EpochLines, ProgressBar, progress_callback


@pytest.fixture(scope="module")
def agent():
    hyperparameters = {"hidden": (), "rollout_length": 5, "num_envs": 2, "xla": False}
    return A2C.for_env("Chain-5", seed=0, **hyperparameters)


@pytest.fixture
def terminal(monkeypatch):
    """Rich writes to a terminal of 80 columns that is a string."""
    console = rich.console.Console(
        file=io.StringIO(), force_terminal=True, width=80, color_system=None
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


def test_a_notebook_has_no_bar(monkeypatch):
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: False, raising=False)
    monkeypatch.setitem(progress.sys.modules, "ipykernel", progress)
    assert isinstance(progress_callback(1)[0], EpochLines)


@pytest.mark.parametrize("verbose", [3, -1, "loud"])
def test_unknown_verbosity(verbose):
    with pytest.raises(ValueError, match=f"0, 1, 2 or 'auto'. Received: {verbose!r}"):
        progress_callback(verbose)


def test_figures_have_a_width_and_significant_digits():
    for exponent in range(-12, 12):
        for mantissa in (1.0, -1.0, 9.9999, -9.9999, 1.2345, -1.2345):
            text = figure(mantissa * 10.0**exponent)
            assert len(text) <= 7, text
            expected = pytest.approx(mantissa * 10.0**exponent, rel=0.3)
            assert float(text.replace(",", "")) == expected
            if abs(mantissa) == 1.2345 and -2 < exponent < 5:
                assert text.lstrip("-0.").startswith(
                    ("1.23", "12.3", "123", "1,23", "12,3")
                )


def test_rows_are_aligned_and_fit_a_terminal():
    """Whatever the figures are, with workers too, and with many epochs."""
    logs = dict.fromkeys(lines_module._FIGURES, 123.4)
    logs |= {
        "env_steps": 12_345_678,
        "explained_variance": -7_816_037.0,
        "steps_per_second": 123_456.0,
        "loss": 3.0,
    }
    logs |= {
        "learner_waits": 0.5,
        "lag": 1.5,
        "updates_per_second": 1e5,
        "val_return": math.nan,
    }
    for epochs in (2, 100, 10_000):
        table = Table(epochs, logs)
        rows = [table.header, table.row(1, logs), table.row(epochs, {})]
        assert {len(row) for row in rows} == {len(table.header)}
        assert len(table.header) <= 80
        assert "loss" not in table.header
        assert {"return", "eval", "lag", "steps/s"} <= {*table.header.split()}
    assert Table(10, {"env_steps": 1, "return": 2.0}).header.split() == [
        "epoch", "steps", "return",
    ]  # fmt: skip


def test_one_line_an_epoch(agent, capsys):
    agent.env_steps.assign(0)
    agent.fit("Chain-5", steps=40, epochs=2, verbose=2)
    captured = capsys.readouterr()
    assert captured.err == ""
    first, header, *rows = captured.out.splitlines()
    assert first == "compiling ..."
    assert header.split()[:4] == ["epoch", "steps", "return", "length"]
    assert header.endswith("steps/s")
    assert [row.split()[:2] for row in rows] == [["1/2", "20"], ["2/2", "40"]]
    agent.fit("Chain-5", steps=20, epochs=1, verbose=2)
    assert "compiling" not in capsys.readouterr().out  # it is compiled


def test_a_bar_on_a_terminal(agent, terminal):
    agent.env_steps.assign(1000)  # the bar is of this call's steps
    agent.fit("Chain-5", steps=40, epochs=2, verbose=1)
    written = terminal.getvalue()
    assert " 1/2       1,020 " in written
    assert " 2/2       1,040 " in written
    plain = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", written)
    last = [line for line in re.split(r"[\r\n]", plain) if line.strip()][-1]
    figures = r"40/40 0:00:0\d < 0:00:00 [\d,]+ steps/s  return "
    assert re.search(rf"training .* {figures}", last)
    assert len(last) <= 80
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # cursor


def test_the_bar_says_that_it_compiles(terminal):
    bar = ProgressBar()
    bar.set_params({"steps": 2_500_000, "epochs": 2, "compiles": True})
    bar.set_model(types.SimpleNamespace(env_steps=0))
    bar.on_train_begin()
    bar.close()
    assert "compiling" in terminal.getvalue()
    assert "0/2.5M" in terminal.getvalue()


def test_the_terminal_is_given_back_when_a_run_is_interrupted(agent, terminal):
    class Interrupt(progress.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        agent.fit("Chain-5", steps=40, epochs=2, verbose=1, callbacks=[Interrupt()])
    assert terminal.getvalue().count("\x1b[?25h") == 1
