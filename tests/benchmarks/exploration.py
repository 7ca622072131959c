"""The sparse mountain car with and without a bonus, one JSON line a run.

    python -m tests.benchmarks.exploration [--seeds 5] [--first-seed 0] [--output FILE]
        [--set NAME=VALUE] [--only with|without] [--values zero|random]
    python -m tests.benchmarks.exploration table docs/results/rnd.jsonl

`SparseMountainCar` pays 1 on arrival and nothing else, so that a run's return is the
share of episodes that reached the goal. A run ends with the rollout in which its 200th
episode ended. What counts are episodes 101 to 200, in the order in which they ended;
those of the rollout in which the 100th ended are left out. The control is the same
agent, network and settings, without the bonus. The last layers of the values begin at
0: until a first arrival the control's advantages are then exactly 0, where those of
random values push its policy about, and to the goal as well: `--values random`.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerasrl2.agents import PPO, RND
from kerasrl2.envs.classic_control.mountain_car import MountainCarContinuous
from tests.benchmarks.scores import emit

EPISODES, COUNTED = 200, 100  # in a run, and of them the last
SETTINGS = {  # of both agents; all else is as it is by default
    "num_envs": 8,
    "rollout_length": 128,
    "batch_size": 256,
    "num_epochs": 4,
    "gamma": 0.999,
    "initial_log_std": -1.0,
    "normalize_observations": True,
}


class SparseMountainCar(MountainCarContinuous):
    """`MountainCarContinuous` that pays 1 on arrival, and charges nothing."""

    def __init__(self, num_envs=1, max_episode_steps=999, id="SparseMountainCar"):
        super().__init__(num_envs, max_episode_steps, id)

    def transition(self, physics, action):
        physics, _, arrived = super().transition(physics, action)
        return physics, tf.cast(arrived, tf.float32), arrived


class Arrivals(keras.callbacks.Callback):
    """Counts episodes and arrivals; ends a run after `EPISODES`.

    Attributes:
        counts: List of `(episodes, arrivals)`, one for each rollout.
    """

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_epoch_end(self, epoch, logs=None):
        count = int(logs["episodes"])
        reached = round(logs["return"] * count) if count else 0
        self.counts.append((count, reached))
        if sum(episodes for episodes, _ in self.counts) >= EPISODES:
            self.model.stop_training = True

    def share(self):
        """Share of arrivals in the rollouts that began after `EPISODES - COUNTED`."""
        before = np.cumsum([0, *(count for count, _ in self.counts)])[:-1]
        late = [
            pair
            for pair, ended in zip(self.counts, before, strict=True)
            if ended >= EPISODES - COUNTED
        ]
        return sum(reached for _, reached in late) / max(1, sum(n for n, _ in late))


def play(seed, with_bonus, overrides=(), values="zero"):
    """One run; returns its line.

    Args:
        seed: Integer.
        with_bonus: Boolean, `RND` or `PPO`.
        overrides: Dictionary of keywords of `for_env`.
        values: `"zero"`, the values' last layers begin at 0, or `"random"`.
    """
    settings = {**SETTINGS, **dict(overrides)}
    agent_class = RND if with_bonus else PPO
    env = SparseMountainCar(settings["num_envs"])
    agent = agent_class.for_env(env, seed=seed, **settings)
    for layer in agent.network.layers:
        if values == "zero" and layer.name in ("value", "intrinsic_value"):
            layer.kernel.assign(tf.zeros_like(layer.kernel))
    arrivals, started = Arrivals(), time.perf_counter()
    rows = settings["num_envs"] * settings["rollout_length"]
    rollouts = EPISODES * 1000 // rows + 2  # as many as it takes, if none arrives
    agent.fit(env, rollouts * rows, epochs=rollouts, callbacks=[arrivals], verbose=0)
    counts = arrivals.counts
    first = next((i for i, (_, reached) in enumerate(counts) if reached), None)
    return {
        "algorithm": "rnd" if with_bonus else "ppo",
        "env": env.id,
        "seed": seed,
        "values": values,
        "steps": int(agent.env_steps),
        "episodes": sum(count for count, _ in counts),
        "arrived_101_to_200": round(arrivals.share(), 4),
        "arrived_in_all": sum(reached for _, reached in counts),
        "first_arrival_by_step": None if first is None else (first + 1) * rows,
        "seconds": round(time.perf_counter() - started, 1),
        "settings": settings,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", choices=["with", "without"])
    parser.add_argument("--values", choices=["zero", "random"], default="zero")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.table:
        print_table(Path(arguments.table[-1]))
        return
    from kerasrl2.cli.values import parse_assignments

    overrides = parse_assignments(arguments.set)
    kinds = {"with": [True], "without": [False], None: [True, False]}[arguments.only]
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for with_bonus in kinds:
            line = play(seed, with_bonus, overrides, arguments.values)
            emit(line, arguments.output)


def print_table(path):
    """Markdown: one row an algorithm."""
    runs = {}
    for text in path.read_text().splitlines():
        line = json.loads(text)
        key = line["algorithm"], line["values"]
        runs.setdefault(key, {})[line["seed"]] = line
    print("| agent | values begin | episodes 101-200 that arrived | first arrival by |")
    print("|---|---|---|---|")
    for (algorithm, values), lines in sorted(runs.items(), reverse=True):
        ordered = [line for _, line in sorted(lines.items())]
        shares = [f"{100 * line['arrived_101_to_200']:.0f} %" for line in ordered]
        first = [line["first_arrival_by_step"] for line in ordered]
        firsts = ["never" if step is None else f"{step:,}" for step in first]
        row = algorithm, values, _listed(shares), _listed(firsts)
        print(f"| {' | '.join(row)} |")


def _listed(words):
    """Words separated by commas; one alone where all are equal."""
    return f"each {words[0]}" if len(set(words)) == 1 else ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
