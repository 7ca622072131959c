"""Environments of the current directory, in every command; those that never end."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import kerasrl2 as krl
from kerasrl2.cli.environments import named
from kerasrl2.plotting import read_metrics
from tests.cli.shell import SMALL, fail, succeed

MODULE = """
import gymnasium
import numpy as np

import my_sizes


class Mine(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0.0, 1.0, [my_sizes.WIDTH], np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.zeros(1, np.float32), 1.0, self.time == 5, False, {}


class Patient(Mine):
    def step(self, action):
        return np.zeros(1, np.float32), 1.0, False, False, {}


one = Mine()
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The current one, with a module that only it leads to."""
    place = tmp_path_factory.mktemp("mine")
    (place / "my_mine.py").write_text(MODULE)
    (place / "my_sizes.py").write_text("WIDTH = 1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [p for p in sys.path if p])
        yield place
    for name in ("my_mine", "my_sizes"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def mine(directory):
    """A run in an environment of the current directory."""
    arguments = ["--steps", 80, "--reports", 1, *SMALL]
    output = succeed("train", "a2c", "my_mine:Mine", *arguments)
    assert output.startswith("a2c on my_mine:Mine (8 Gymnasium environments)")
    return directory / "runs" / "a2c-my_mine_Mine-1"


@pytest.mark.long
def test_train_evaluate_check(mine):
    assert read_metrics(mine)["val_return"].tolist() == [5.0]
    output = succeed("evaluate", mine, "--episodes", 2)
    assert output.startswith("a2c on my_mine:Mine: return 5.00")
    assert "no faults" in succeed("check", "my_mine:Mine", "--steps", 30)


@pytest.mark.long
def test_resume(mine, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(mine, run)
    assert "resumed at 80 steps" in succeed("resume", run, "--steps", 160)
    assert read_metrics(run)["env_steps"].tolist()[-1] == 160


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("my_mine:one", "to be an id or a callable that returns a new environment"),
        ("my_mine:Other", "Expected an id of"),
        (
            "my_nowhere:Mine",
            "Expected the module 'my_nowhere' of my_nowhere:M",
        ),
    ],
)
def test_what_is_no_environment(env, message, directory):
    assert re.search(message, fail("train", "a2c", env, *SMALL))


def test_nothing_is_imported_from_within_a_run(tmp_path, monkeypatch):
    """It may be a stranger's: its files are data."""
    (tmp_path / "my_trap.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    with pytest.raises(ImportError, match="Expected the module 'my_trap'"):
        named("my_trap:Env", without=tmp_path)
    with pytest.raises(SystemExit, match="executed"):
        named("my_trap:Env")


@pytest.fixture(scope="module")
def patient(directory):
    """A run in an environment that never ends, by a hand that never trained."""
    run = directory / "patient"
    run.mkdir()
    agent = krl.agents.A2C.for_env(named("my_mine:Patient"), hidden=(4,), seed=0)
    agent.save(run / "agent.keras")
    (run / "config.yaml").write_text("{algorithm: a2c, env: my_mine:Patient}")
    return run


def test_a_limit_of_evaluation(patient):
    line = fail("evaluate", patient, "--episodes", 1, "--max-episode-steps", 300)
    assert "Expected episodes of at most 300 steps" in line


@pytest.mark.long
def test_sigterm_ends_an_evaluation(patient, directory):
    code = "from kerasrl2.cli import main; main()"
    more = ["--episodes", "1", "--max-episode-steps", str(2**31 - 1)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "evaluate", str(patient), *more], cwd=directory,
        env={**os.environ, "KERASRL2_CACHE": ""}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        time.sleep(15)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode in (143, -signal.SIGTERM)
    assert "Traceback" not in errors
