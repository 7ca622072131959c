"""`kerasrl2 resume` and `train --resume`."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.cli.configuration import read_config, write_config
from kerasrl2.plotting import read_metrics
from tests.cli.shell import TRAIN, fail, succeed


def same(directory, other):
    """Whether two runs have the same weights and metrics, but for the clock's."""
    a, b = (krl.load_agent(d / "agent.keras") for d in (directory, other))
    for x, y in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(x, y)
    for name, column in read_metrics(directory).items():
        if name != "steps_per_second":
            np.testing.assert_array_equal(read_metrics(other)[name], column)


def test_a_run_goes_on_where_its_checkpoint_stands(whole, tmp_path):
    """The rows of the metrics after the checkpoint are made again, not twice."""
    stopped = tmp_path / "stopped"
    shutil.copytree(whole, stopped)
    for path in sorted((stopped / "checkpoints").iterdir())[1:]:
        shutil.rmtree(path)  # of the newest three, only that at 200 steps is left
    (stopped / "agent.keras").unlink()
    output = succeed("resume", stopped)
    assert "resumed at 200 steps" in output
    same(whole, stopped)


@pytest.mark.long
def test_a_run_without_a_checkpoint_begins_anew(whole, tmp_path):
    stopped = tmp_path / "stopped"
    shutil.copytree(whole, stopped)
    shutil.rmtree(stopped / "checkpoints")
    succeed("resume", stopped)
    same(whole, stopped)


@pytest.mark.long
def test_more_steps_in_all(whole, tmp_path):
    longer = tmp_path / "longer"
    shutil.copytree(whole, longer)
    succeed("resume", longer, "--steps", 600)
    assert int(krl.load_agent(longer / "agent.keras").env_steps) == 600
    assert read_config(longer)["steps"] == 600
    epochs = read_metrics(longer)["epoch"].tolist()
    assert epochs == list(range(len(epochs)))


@pytest.mark.long
def test_train_resume_begins_a_run_or_goes_on(tmp_path):
    arguments = [*TRAIN, "--steps", 200, "--run-dir", tmp_path / "run", "--resume"]
    succeed(*arguments)
    assert "resumed at 200 steps" in succeed(*arguments)


def test_a_damaged_checkpoint_is_told_in_one_line(whole, tmp_path):
    stopped = tmp_path / "stopped"
    shutil.copytree(whole, stopped)
    for path in (stopped / "checkpoints").iterdir():
        (path / "manifest.json").write_text("")
    assert "Expected at least one undamaged" in fail("resume", stopped)


def test_wrong_arguments(whole, tmp_path):
    assert "There is no" in fail("resume", tmp_path)
    assert "Expected `--run-dir` with `--resume`" in fail(*TRAIN, "--resume")
    other = ["train", "ppo", "CartPole-v1", "--run-dir", whole, "--resume"]
    assert "Expected `algorithm` a2c" in fail(*other)
    config = read_config(whole)
    del config["overrides"]
    write_config(tmp_path, **config)
    assert "an earlier version made" in fail("resume", tmp_path)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Resuming .* with threads")  # as many as tests have
def test_sigterm_and_going_on(whole, tmp_path):
    """A real process, ended as a batch system ends one."""
    directory = tmp_path / "run"
    code = "from kerasrl2.cli import main; main()"
    command = [
        sys.executable, "-c", code, *map(str, TRAIN), "--steps", "100000000",
        "--run-dir", str(directory), "--checkpoint-every", "100000000",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    environment["KERASRL2_CACHE"] = ""
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    try:
        for line in running.stdout:
            if line.startswith("import "):
                break
        time.sleep(2)
        running.send_signal(signal.SIGTERM)
        output, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 143, errors
    assert f"To continue: kerasrl2 resume {directory}" in errors
    assert "1 checkpoints, 0.0 MB" in output
    (checkpoint,) = (directory / "checkpoints").iterdir()
    steps = int(krl.load_agent(directory / "agent.keras").env_steps)
    assert checkpoint.name == f"checkpoint-{steps:012d}"
    output = succeed("resume", directory, "--steps", steps + 100)
    assert f"resumed at {steps:,} steps" in output
