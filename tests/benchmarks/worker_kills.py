"""Kills workers at random moments while an agent learns from them, over Ray.

    python -m tests.benchmarks.worker_kills [--kills 20]
        [--output docs/results/worker_kills.jsonl]

Two workers play CartPole for a DQN. One of them gets SIGKILL after up to a second, when
both have answered since the kill before. Counts of transitions and updates must be
exact in the end. Prints one JSON line: medians and longest of `seen`, seconds from a
kill until its worker is known to have ended, and of `pause`, the iteration of the
learner in which that happens and another worker is asked for.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

from tests.benchmarks.scores import emit


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    emit(kill_and_count(arguments.kills, arguments.seed), arguments.output)


def kill_and_count(times, seed):
    from tests.distributed.killing import ENV, TWO, check_counts, dqn, kill_at_random

    agent, started = dqn(), time.perf_counter()
    loop = agent.loop_on(ENV, workers=TWO)
    loop.compile()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one for each kill
        kills = list(kill_at_random(loop, np.random.default_rng(seed), times))
    check_counts(agent)
    replaced = sum(loop.pool.generations)
    assert replaced == times, f"{times} were killed, {replaced} replaced"
    line = {"benchmark": "worker_kills", "kills": times, "seed": seed}
    line["env_steps"] = int(agent.env_steps)
    line["updates"] = int(agent.optimizer.iterations)
    for name in ("seen", "pause"):
        seconds = [kill[name] for kill in kills]
        line[f"{name}_median"] = round(float(np.median(seconds)), 3)
        line[f"{name}_longest"] = round(max(seconds), 3)
    line["seconds"] = round(time.perf_counter() - started, 1)
    agent.close()
    return line


if __name__ == "__main__":
    main()
