"""The same seed gives the same run."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from kerasrl2 import agents
from kerasrl2.agents.keywords import keywords_of
from tests.training.runs import (
    VARIANTS,
    digest,
    home_of,
    make,
    steps_of,
    train,
)

pytestmark = pytest.mark.long
KINDS = "a2c", "ppo recurrent", "rainbow", "reinforce", "sac"  # of loops and updates
ALL = [*sorted(agents.algorithms()), *VARIANTS]


def play(algorithm, seed, num_envs, backend="auto", **hyperparameters):
    env_id = home_of(algorithm)
    agent = make(algorithm, env_id, seed, num_envs=num_envs, **hyperparameters)
    steps = steps_of(algorithm, 120, 4)
    history = train(agent, env_id, steps, backend=backend, epochs=2)
    return digest(agent), history


@pytest.mark.parametrize(
    ("algorithm", "num_envs"), [*((name, 4) for name in ALL), *((n, 1) for n in KINDS)]
)
def test_equal_seeds_give_equal_runs_and_others_do_not(algorithm, num_envs):
    hyperparameters = {"xla": False}
    name, _ = VARIANTS.get(algorithm, (algorithm, {}))
    if "batch_size" in keywords_of(agents.algorithm(name)):
        hyperparameters["batch_size"] = 16  # also rows of a rollout with `num_envs=1`
    first, history = play(algorithm, 7, num_envs, **hyperparameters)
    again, same = play(algorithm, 7, num_envs, **hyperparameters)
    other, _ = play(algorithm, 8, num_envs, **hyperparameters)
    assert first == again != other
    np.testing.assert_equal(history, same)


def test_a_gymnasium_environment_in_a_program_of_xla():
    runs = [play("a2c", seed, 2, "gymnasium", xla=True) for seed in (7, 7, 8)]
    assert runs[0][0] == runs[1][0] != runs[2][0]


RUNS = """
import sys
from pathlib import Path
from tests.training import runs

_, place, *planned = sys.argv
for name, env_id, steps in (plan.split(":") for plan in planned):
    directory = Path(place, name)
    directory.mkdir()
    sys.argv[1:] = [name, env_id, str(directory), steps]
    runs.main()
"""


def test_two_processes_give_equal_runs(tmp_path):
    """Under XLA, with threads as TensorFlow chooses them, not as tests do."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TF_NUM_")}
    planned = [f"{n}:{home_of(n)}:{steps_of(n, 120, 4)}" for n in KINDS]
    places = [tmp_path / "one", tmp_path / "other"]
    processes = []
    for place in places:
        place.mkdir()
        command = [sys.executable, "-c", RUNS, str(place), *planned]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env))
    assert [process.wait() for process in processes] == [0, 0]
    for name in KINDS:
        one, other = (
            json.loads((p / name / "result.json").read_text()) for p in places
        )
        assert one["digest"] == other["digest"]
        np.testing.assert_equal(one, other)
