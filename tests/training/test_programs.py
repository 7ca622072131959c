"""Compiled programs: agents of equal structure share one, and each is compiled once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.many_agents import measure

ROOT = Path(__file__).parents[2]

# Prints how many programs XLA has compiled after each of three calls of `run`.
RUNS = """
import sys
import tests.newcomers.sac
from tests.training.runs import make
from kerasrl2 import envs
from pathlib import Path

algorithm, env_id, directory = sys.argv[1:]
agent = make(algorithm, env_id)
loop = agent.loop_on(envs.make(env_id, num_envs=agent.num_envs))
for iterations in 20, 3, 5:
    loop.run(iterations)
    print(len(list(Path(directory).glob("*before_optimizations.txt"))))
"""


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_later_agents_cost_next_to_nothing(algorithm):
    """45 MB of a compiled program each, and its seconds, if none was shared."""
    figures = measure(algorithm, 8)
    assert figures["later_megabytes"] < 5.0
    made = figures["later_seconds"] - figures["training_seconds"]
    assert made < 0.25 * figures["first_seconds"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("algorithm", "env_id"),
    [
        ("ppo", "Pendulum-v1"),
        ("a2c", "CartPole-v1"),
        ("dqn", "CartPole-v1"),
        ("rainbow", "CartPole-v1"),
        ("rnd", "CartPole-v1"),
        ("sac", "Pendulum-v1"),
    ],
)
def test_later_blocks_compile_nothing(algorithm, env_id, tmp_path):
    """XLA compiles anew where a value it takes for a constant has changed."""
    process = subprocess.run(
        [sys.executable, "-c", RUNS, algorithm, env_id, tmp_path],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text",
        },
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    first, second, third = map(int, process.stdout.split())
    assert first >= 1
    assert (second, third) == (first, first)
