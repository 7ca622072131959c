"""Scores where the optimum needs a memory, with one and without, one JSON line a run.

    python -m tests.benchmarks.recall [--seeds 5] --output docs/results/recurrent.jsonl

In `tests.memory_worlds.Recall` a policy without memory gets half of what one with a
memory does, 1.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import time
from pathlib import Path

from kerasrl2 import agents, envs
from tests.benchmarks.scores import emit
from tests.memory_worlds import Recall

SMALL = {"recurrent": "gru", "recurrent_units": 16, "hidden": (16,), "gamma": 0.95}
SETTINGS = {  # algorithm: env steps, keywords of `for_env`
    "ppo": (30_000, {
        **SMALL, "recurrent": "lstm", "shared_trunk": True, "num_envs": 16,
        "rollout_length": 24, "batch_size": 96, "num_epochs": 4, "learning_rate": 5e-3,
    }),
    "a2c": (60_000, {
        **SMALL, "shared_trunk": True, "num_envs": 16, "rollout_length": 6,
        "learning_rate": 5e-3, "entropy_coefficient": 0.01,
    }),
    "dqn": (30_000, {
        **SMALL, "hidden": (16, 16), "num_envs": 8, "sequence_length": 6, "burn_in": 0,
        "train_frequency": 6, "gradient_steps": 2, "batch_size": 32, "double": True,
        "learning_starts": 500, "learning_rate": 3e-3, "target_update_interval": 50,
        "buffer_size": 10_000,
    }),
}  # fmt: skip
OF_MEMORY = ("recurrent", "recurrent_units", "sequence_length", "burn_in")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    for algorithm in SETTINGS:
        for recurrent in (True, False):
            for seed in range(arguments.seeds):
                emit(play(algorithm, recurrent, seed), arguments.output)


def play(algorithm, recurrent, seed):
    """Trains with one seed and evaluates, with a memory or without."""
    if "Recall" not in envs.ids():
        envs.register("Recall", Recall)
    steps, settings = SETTINGS[algorithm]
    if not recurrent:
        settings = {k: v for k, v in settings.items() if k not in OF_MEMORY}
    started = time.perf_counter()
    agent = agents.algorithm(algorithm).for_env("Recall", seed=seed, **settings)
    agent.fit("Recall", steps=steps, epochs=1, verbose=0)
    scores = agent.evaluate("Recall", episodes=200, seed=10_000 + seed)
    return {
        "algorithm": algorithm, "env": "Recall", "seed": seed,
        "recurrent": settings.get("recurrent"), "steps": int(agent.env_steps),
        "return": round(scores["return"], 3),
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
