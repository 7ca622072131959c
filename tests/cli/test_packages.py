"""An algorithm of another package, from the shell, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kerasrl2._algorithms import built_in
from kerasrl2.plotting import read_metrics
from tests.packages import install

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
MAIN = "import sys; from kerasrl2.cli import main\n"
SOURCE = """
from typing import Literal

import keras
import tensorflow as tf

import kerasrl2 as krl


@krl.agents.register(
    "acme",
    title="Actor-critic of Acme",
    quick={"hidden": (4,), "num_envs": 2},
    settings="acme_tuned.yaml",
)
@keras.saving.register_keras_serializable(package="acme")
class Acme(krl.agents.A2C):
    metric_names = (*krl.agents.A2C.metric_names, "caution")

    def __init__(
        self, *args, caution: float | Literal["auto"] = "auto", **hyperparameters
    ):
        super().__init__(*args, **hyperparameters)
        self.caution = caution

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        caution = 0.125 if self.caution == "auto" else self.caution
        return loss, {**metrics, "caution": tf.constant(caution)}
"""
TUNED = """
CartPole-v1:
  steps: 200
  num_envs: 2
  hidden: [4]
  learning_rate: linear 1e-3
  xla: false
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Where packages are and commands run: a good package and a broken one."""
    place = tmp_path_factory.mktemp("packages")
    install(place / "site", "acme-rl", {"acme": "acme_agents:Acme"}, acme_agents=SOURCE)
    (place / "site" / "acme_tuned.yaml").write_text(TUNED)
    broken = {"broken": "broken_agents:Broken"}
    install(place / "site", "broken-rl", broken, broken_agents="import missing_module")
    return place


@pytest.fixture
def shell(directory):
    """Runs `kerasrl2` with arguments; returns the finished process."""

    def call(*arguments, code=MAIN + "main()"):
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True, text=True, check=False, cwd=directory, timeout=300,
            env={**os.environ, "PYTHONPATH": f"{directory / 'site'}{os.pathsep}{ROOT}",
                 "KERASRL2_CACHE": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip

    return call


def succeed(process):
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_trained_resumed_evaluated(shell, directory):
    run = directory / "runs" / "acme-CartPole-v1-1"
    output = succeed(shell("train", "acme", "CartPole-v1", "--reports", 2, "--seed", 1))
    assert "acme on CartPole-v1 (2 TensorFlow environments), 200 steps" in output
    metrics = read_metrics(run)
    assert metrics["env_steps"].tolist() == [100, 200]
    assert metrics["caution"].tolist() == [0.125, 0.125]
    assert metrics["learning_rate"][-1] == pytest.approx(0.0, abs=1e-9)
    output = succeed(shell("resume", run, "--steps", 400))
    assert read_metrics(run)["env_steps"][-1] == 400
    output = succeed(shell("evaluate", run, "--episodes", 2))
    assert output.startswith("acme on CartPole-v1: return ")


def test_numbers_and_words(shell, directory):
    arguments = ["train", "acme", "CartPole-v1", "--steps", 40, "--reports", 1]
    run = directory / "cautious"
    succeed(shell(*arguments, "--set", "caution=0.5", "--run-dir", run))
    assert read_metrics(run)["caution"].tolist() == [0.5]
    failed = shell(*arguments, "--set", "caution=much")
    assert failed.stderr == (
        "Error: Expected `caution` as a number or 'auto'. Received: 'much'\n"
    )


def test_listed_without_being_imported(shell):
    code = MAIN + (
        "try: main()\n"
        "finally: assert not {'tensorflow', 'keras', 'acme_agents'} & set(sys.modules)"
    )
    lines = succeed(shell("list", code=code)).splitlines()
    assert {"acme  (of acme-rl 1.0)", "broken  (of broken-rl 1.0)"} <= {*lines}
    names = [line.split()[0] for line in lines]
    assert names == sorted([*built_in(), "acme", "broken"])


def test_settings(shell):
    output = succeed(shell("list", "settings", "acme"))
    assert "caution = 'auto'\n" in output
    assert "rollout_length = 5\n" in output
    assert "CartPole-v1\n  steps = 200\n" in output


def test_a_broken_package_is_named_and_disturbs_no_other(shell):
    failed = shell("train", "broken", "CartPole-v1")
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith("Error: Expected the algorithm 'broken' as the class ")
    assert "broken_agents:Broken of broken-rl 1.0" in line
    assert "No module named 'missing_module'" in line
    assert "gamma = 0.99" in succeed(shell("list", "settings", "ppo"))
