"""What agents cost that are made one after the other in a process.

    python -m tests.benchmarks.many_agents [--agents 100] [--algorithm ppo]

Each is made, trained for 2 000 steps on CartPole-v1, and dropped. Printed as a JSON
line: megabytes the process grew by and seconds it took, for the first agent and for
each later one, and the seconds that training alone takes (a second `fit` of the last).
"""

import kerasrl2._startup

import argparse
import gc
import json
import os
import platform
import time
from pathlib import Path

import kerasrl2 as krl

STEPS = 2_000


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def one(algorithm, seed):
    """Makes and trains an agent; returns the seconds of both and of more training."""
    started = time.perf_counter()
    agent = krl.agents.algorithm(algorithm).for_env("CartPole-v1", seed=seed)
    agent.fit("CartPole-v1", steps=STEPS, epochs=1, verbose=0)
    agent.act([0.0, 0.0, 0.0, 0.0])
    both = time.perf_counter() - started
    agent.fit("CartPole-v1", steps=STEPS, epochs=1, verbose=0)
    return both, time.perf_counter() - started - both


def measure(algorithm, number):
    """The figures as a dictionary."""
    grown, seconds, training = [], [], []
    for seed in range(number):
        before = resident_megabytes()
        both, again = one(algorithm, seed)
        gc.collect()
        grown.append(resident_megabytes() - before)
        seconds.append(both)
        training.append(again)
    later = number - 1
    return {
        "algorithm": algorithm,
        "agents": number,
        "first_megabytes": round(grown[0], 1),
        "later_megabytes": round(sum(grown[1:]) / later, 2),
        "first_seconds": round(seconds[0], 1),
        "later_seconds": round(sum(seconds[1:]) / later, 2),
        "training_seconds": round(sum(training[1:]) / later, 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--algorithm", default="ppo")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.algorithm, arguments.agents)))


if __name__ == "__main__":
    main()
