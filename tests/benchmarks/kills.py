"""Kills a training process at random moments until it has ended all the same.

    python -m tests.benchmarks.kills [--kills 100] [--algorithm a2c] [--env CartPole-v1]

A run in a process of its own keeps a checkpoint every `--every` env steps. It gets
SIGKILL after random times, starts again with `resume=True`, and so on; then it may end.
Its weights, optimizer state, buffer and history must be those of a run that was left in
peace. Prints one JSON line; `docs/results/resume.jsonl` keeps those of past runs.
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--algorithm", default="a2c")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds of a life")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments, started = random.Random(arguments.seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        expected = finish(start(arguments, place / "in-peace"), place / "in-peace")
        directory, kills, while_writing, reached = place / "killed", 0, 0, []
        while kills < arguments.kills:
            process = start(arguments, directory)
            try:
                process.wait(moments.uniform(0.0, arguments.longest))
                break  # it was done before it could be killed
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            kills += 1
            checkpoints = directory / "checkpoints"
            while_writing += bool(list(checkpoints.glob(".writing*")))
            whole = sorted(checkpoints.glob("checkpoint-*"))
            reached.append(int(whole[-1].name.partition("-")[2]) if whole else 0)
        result = finish(start(arguments, directory), directory)
    print(
        json.dumps(
            {
                "kills": kills,
                "while_writing": while_writing,
                "never_went_back": reached == sorted(reached),
                "identical": result == expected,
                **{k: v for k, v in vars(arguments).items() if k != "kills"},
                "seconds": round(time.perf_counter() - started, 1),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            }
        )
    )
    sys.exit(0 if result == expected else 1)


def start(arguments, directory):
    """Starts or resumes the run; returns once Python has imported everything."""
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.training.runs", arguments.algorithm]
    command += [arguments.env, str(directory), str(arguments.steps)]
    command += ["--every", str(arguments.every)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def finish(process, directory):
    process.communicate()
    if process.returncode:
        sys.exit(f"the run ended with {process.returncode}")
    return json.loads((directory / "result.json").read_text())


if __name__ == "__main__":
    main()
