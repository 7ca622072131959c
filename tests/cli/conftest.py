"""What the tests of the command line share: this process, and two trained runs."""

import gc

import pytest

from kerasrl2.cli import machine
from tests.cli.shell import PPO, SMALL, TRAIN, succeed


@pytest.fixture(scope="package", autouse=True)
def process():
    """Threads and the compilation cache are left to the tests' own process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "set_threads", lambda threads: None)
        patch.setenv("KERASRL2_CACHE", "")
        yield
    gc.enable()  # `train` switches it off until all is compiled


@pytest.fixture(scope="package")
def runs(tmp_path_factory):
    """Two short PPO runs on `CartPole-v1` with different seeds; tests copy them."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        directory = root / f"run-{seed}"
        output = succeed(
            "train", "ppo", "CartPole-v1", "--steps", 128, "--seed", seed,
            "--num-envs", 4, "--reports", 2, "--run-dir", directory, *SMALL, *PPO,
        )  # fmt: skip
        # Beside the runs: nothing but a run's own files may be in them.
        (root / f"output-{seed}.txt").write_text(output)
    return root


@pytest.fixture(scope="package")
def whole(tmp_path_factory):
    """A run of A2C with four checkpoints, of which it keeps three."""
    directory = tmp_path_factory.mktemp("resume") / "whole"
    output = succeed(*TRAIN, "--steps", 400, "--run-dir", directory)
    assert "4 checkpoints, 0.0 MB" in output
    return directory
