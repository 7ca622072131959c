"""The same seed gives the same run."""

import json
import subprocess
import sys

import numpy as np
import pytest

from kerasrl2 import agents
from tests.training.runs import digest, make, train

pytestmark = pytest.mark.long
STEPS = {"ppo": 256, "a2c": 120, "dqn": 120, "rainbow": 120}


def play(algorithm, seed, num_envs, backend="auto", **knobs):
    agent = make(algorithm, "CartPole-v1", seed, num_envs=num_envs, **knobs)
    steps = STEPS[algorithm]
    history = train(agent, "CartPole-v1", steps, backend=backend, epochs=2)
    return digest(agent), history


@pytest.mark.parametrize("num_envs", [1, 4])
@pytest.mark.parametrize("algorithm", sorted(agents.ALGORITHMS))
def test_equal_seeds_give_equal_runs_and_others_do_not(algorithm, num_envs):
    knobs = {"xla": False, "batch_size": 16} if algorithm != "a2c" else {"xla": False}
    first, history = play(algorithm, 7, num_envs, **knobs)
    again, same = play(algorithm, 7, num_envs, **knobs)
    other, _ = play(algorithm, 8, num_envs, **knobs)
    assert first == again != other
    np.testing.assert_equal(history, same)


def test_a_gymnasium_environment_in_a_program_of_xla():
    runs = [play("a2c", seed, 2, "gymnasium", xla=True) for seed in (7, 7, 8)]
    assert runs[0][0] == runs[1][0] != runs[2][0]


def test_two_processes_give_equal_runs(tmp_path):
    """Under XLA, with threads as TensorFlow chooses them."""
    results = []
    for name in ("first", "second"):
        directory = tmp_path / name
        directory.mkdir()
        arguments = ["dqn", "CartPole-v1", str(directory), "200"]
        command = [sys.executable, "-m", "tests.training.runs", *arguments]
        subprocess.run(command, check=True, capture_output=True)
        results.append(json.loads((directory / "result.json").read_text()))
    np.testing.assert_equal(*results)
