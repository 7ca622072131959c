"""Workers from the command line; they are in this process."""

import gc

import numpy as np
import pytest
import yaml

import kerasrl2 as krl
from kerasrl2.cli import machine
from kerasrl2.plotting import read_metrics
from tests.cli.shell import SMALL, fail, succeed


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """Threads and the compilation cache are left to the tests' own process."""
    monkeypatch.setattr(machine, "set_threads", lambda threads: None)
    monkeypatch.setenv("KERASRL2_CACHE", "")
    yield
    gc.enable()  # `train` switches it off until all is compiled


pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


@pytest.mark.long
@pytest.mark.parametrize("backend", ["auto", "gymnasium"])
def test_trains_and_resumes(local, backend, tmp_path):
    run = tmp_path / "run"
    succeed(
        "train", "apex", "CartPole-v1", "--workers", 2, "--steps", 2000, "--reports", 2,
        "--set", "learning_starts=100", "--set", "buffer_size=3000", "--seed", 1,
        "--set", "num_envs=2", "--backend", backend, "--run-dir", run, *SMALL,
    )  # fmt: skip
    metrics = read_metrics(run)
    assert np.isfinite(metrics["lag"]).all()
    assert yaml.safe_load((run / "config.yaml").read_text())["workers"] == 2
    succeed("resume", run, "--steps", 5000)
    assert int(krl.load_agent(run / "agent.keras").env_steps) >= 5000
    assert all(pool.closed for pool in local)


def test_an_address_alone_is_refused(tmp_path):
    line = fail(
        "train", "apex", "CartPole-v1", "--address", "auto", "--run-dir", tmp_path / "r"
    )
    assert "--workers" in line
