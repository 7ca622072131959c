"""Kills a training process at random moments until it has ended all the same.

    python -m tests.benchmarks.kills [--kills 100] [--algorithm a2c] [--env CartPole-v1]
    python -m tests.benchmarks.kills --all

A run in a process of its own keeps a checkpoint every `--every` env steps. It gets
SIGKILL after random times, every other time as it begins to write a checkpoint, starts
again with `resume=True`, and so on; then it may end. Its weights, optimizer state,
buffer and history must be those of a run that was left in peace. With `--all` every
algorithm is killed once in every environment written in TensorFlow. Prints JSON lines;
`docs/results/resume.jsonl` keeps those of past runs.
"""

import argparse
import contextlib
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
    parser.add_argument("--steps", type=int, default=1_500_000)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds of a life")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    lines = each_pair(arguments) if arguments.all else [many_kills(arguments)]
    failed = False
    for line in lines:
        line["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps(line), flush=True)
        if arguments.output is not None:
            with arguments.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
        failed |= not line["identical"]
    sys.exit(int(failed))


def many_kills(arguments):
    """Kills one run again and again: at any moment, and as it writes, in turn."""
    moments, started = random.Random(arguments.seed), time.perf_counter()
    run = arguments.algorithm, arguments.env, arguments.steps, arguments.every
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        expected = finish(start(*run, place / "in-peace"), place / "in-peace")
        directory, kills, while_writing, reached = place / "killed", 0, 0, []
        while kills < arguments.kills:
            left = writing(directory)  # by the process before
            process = start(*run, directory)
            if kills % 2 and not wait_for_writing(process, directory, left):
                break
            longest = 0.02 if kills % 2 else arguments.longest
            try:
                process.wait(moments.uniform(0.0, longest))
                break  # it was done before it could be killed
            except subprocess.TimeoutExpired:
                kill(process)
            kills += 1
            while_writing += bool(writing(directory) - left)
            reached.append(newest(directory))
        result = finish(start(*run, directory), directory)
    return {
        "algorithm": arguments.algorithm,
        "env": arguments.env,
        "steps": arguments.steps,
        "every": arguments.every,
        "kills": kills,
        "while_writing": while_writing,
        "never_went_back": reached == sorted(reached),
        "identical": result == expected,
        "seconds": round(time.perf_counter() - started, 1),
    }


def each_pair(arguments):
    """One kill for every algorithm in every environment in TensorFlow."""
    from kerasrl2 import agents, envs
    from tests.training.runs import fitting

    moments = random.Random(arguments.seed)
    for algorithm in sorted(agents.algorithms()):
        for env_id in envs.ids():
            if fitting(algorithm, env_id):
                yield one_kill(algorithm, env_id, moments)


def one_kill(algorithm, env_id, moments, steps=300):
    """Kills a run up to a second after its first checkpoint.

    A run that has made its last step by then is repeated with ten times the steps.
    """
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        while True:
            run, directory = (algorithm, env_id, steps, 1), place / f"killed-{steps}"
            process = start(*run, directory)
            while process.poll() is None and not newest(directory):
                time.sleep(0.01)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.0, 1.0))
            kill(process)
            if (killed_after := newest(directory)) < steps:
                break
            steps *= 10
        result = finish(start(*run, directory), directory)
        expected = finish(start(*run, place / "in-peace"), place / "in-peace")
    return {
        "algorithm": algorithm,
        "env": env_id,
        "steps": steps,
        "kills": 1,
        "resumed_at": killed_after,
        "identical": result == expected,
    }


def wait_for_writing(process, directory, left):
    """Waits until a checkpoint is being written; False if the run ended before."""
    while process.poll() is None:
        if writing(directory) - left:
            return True
        time.sleep(0.0005)
    return False


def writing(directory):
    """Set of what is being written, or was when a process was killed."""
    return set((directory / "checkpoints").glob(".writing*"))


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


def newest(directory):
    """Env steps at the newest checkpoint of a run, 0 if there is none."""
    whole = sorted((directory / "checkpoints").glob("checkpoint-*"))
    return int(whole[-1].name.partition("-")[2]) if whole else 0


def start(algorithm, env_id, steps, every, directory):
    """Starts or resumes the run; returns once Python has imported everything."""
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.training.runs", algorithm, env_id]
    command += [str(directory), str(steps), "--every", str(every)]
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
