"""What a user waits for: from starting the command to a solved CartPole-v1.

    python -m tests.benchmarks.time_to_solve [--seeds 5] [--cold] [--peers DIR]

Starts `kerasrl2 train ppo CartPole-v1` in a process of its own and stops the clock when
it reports a 20-episode greedy evaluation of at least 475. `--cold` gives every run an
empty compilation cache, as after a fresh installation; otherwise only the first run is
cold. `--peers DIR` runs Stable-Baselines3 with its evaluation callback beside it.
"""

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EVALUATION = re.compile(r"val return (-?[\d.]+)")
PHASES = re.compile(r"import ([\d.]+) s, build ([\d.]+) s, compilation ([\d.]+) s")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--peers", type=Path, default=None)
    arguments = parser.parse_args()
    times = []
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(arguments.seeds):
            cache = Path(directory) / (f"cache-{seed}" if arguments.cold else "cache")
            times.append(run(seed, Path(directory), cache))
    report("kerasrl2", times, "cold" if arguments.cold else "first run cold")
    if arguments.peers:
        report("sb3", [peer(arguments.peers, s) for s in range(arguments.seeds)], "")


def run(seed, directory, cache):
    """Seconds to the evaluation; prints them with the seconds of each phase."""
    script = Path(sys.executable).with_name("kerasrl2")
    command = [str(script), "train", "ppo", "CartPole-v1", "--seed", str(seed)]
    command += ["--stop-at", "475", "--run-dir", str(directory / f"run-{seed}")]
    environment = {**os.environ, "KERASRL2_CACHE": str(cache)}
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    )
    solved, phases = math.nan, {}
    for line in process.stdout:
        if match := PHASES.search(line):
            names = ("import", "build", "compilation")
            phases = dict(zip(names, map(float, match.groups()), strict=True))
        match = EVALUATION.search(line)
        if match and float(match[1]) >= 475 and math.isnan(solved):
            solved = time.perf_counter() - started
    process.wait()
    line = {"seed": seed, "seconds": round(solved, 2), **phases}
    line["whole_process"] = round(time.perf_counter() - started, 2)
    print(json.dumps(line), flush=True)
    shutil.rmtree(directory / f"run-{seed}", ignore_errors=True)
    return solved


def peer(directory, seed):
    """The same with Stable-Baselines3."""
    python = directory / "torch" / "bin" / "python"
    script = Path(__file__).with_name("peers.py")
    command = [python, script, "sb3", "time-to-solve", "--seed", str(seed)]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(line.strip(), flush=True)
    return json.loads(line.strip().splitlines()[-1])["value"]


def report(library, times, note):
    line = {
        "library": library,
        "workload": "time-to-solve",
        "unit": "s",
        "value": round(statistics.median(times), 2),
        "solved": sum(not math.isnan(t) for t in times),
        "runs": len(times),
        "note": note,
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
