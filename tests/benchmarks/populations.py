"""Population-based training against fixed random learning rates, one JSON line a run.

    python -m tests.benchmarks.populations --output docs/results/pbt.jsonl

Both have the same first members, seeds and env steps; only one of them copies and
explores. The range of learning rates is bad: most of it learns nothing in this budget.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import time
import warnings
from pathlib import Path

from kerasrl2 import agents
from kerasrl2.populations import EloSelection, Population, TruncationSelection
from tests.benchmarks.scores import emit

ENV, SIZE, GENERATIONS, STEPS = "CartPole-v1", 4, 10, 2_048
RANGES = {"learning_rate": (1e-6, 1.0)}
SETTINGS = {
    "hidden": (32, 32), "num_envs": 4, "rollout_length": 128, "batch_size": 128,
    "num_epochs": 4,
}  # fmt: skip
KINDS = {
    "pbt, truncation": TruncationSelection,
    "pbt, Elo": EloSelection,
    "fixed": lambda: lambda scores, members, rng: {},  # nobody copies
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs=2, default=[0, 20])
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    for seed in range(*arguments.seeds):
        for kind in KINDS:
            emit(run(kind, seed), arguments.output)


def run(kind, seed):
    """Trains a population and evaluates all members greedily."""
    started = time.perf_counter()
    population = Population.of_agents(
        lambda number: agents.PPO.for_env(ENV, seed=number, **SETTINGS),
        ENV, SIZE, RANGES, KINDS[kind](), seed=100 * seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of members that come to NaN
        history = population.fit(GENERATIONS, STEPS)
    seconds = time.perf_counter() - started
    returns = [
        member.agent.evaluate(ENV, episodes=50, seed=10_000)["return"]
        for member in population.members
    ]
    rates = history.history["learning_rate"]
    return {
        "experiment": "pbt", "env": ENV, "kind": kind, "seed": seed, "members": SIZE,
        "generations": GENERATIONS, "env_steps": SIZE * GENERATIONS * STEPS,
        "best": round(returns[population.best], 1),
        "mean": round(sum(returns) / SIZE, 1),
        "first_rates": [float(f"{rate:.2g}") for rate in rates[0]],
        "last_rates": [float(f"{rate:.2g}") for rate in rates[-1]],
        "copies": len(history.copies()), "seconds": round(seconds, 1),
        "command": "python -m tests.benchmarks.populations",
    }  # fmt: skip


if __name__ == "__main__":
    main()
