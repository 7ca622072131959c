"""Runs the tests that `.ci/run` leaves out, and keeps what came out of it.

    python -m tests.benchmarks.exhaustive [--output docs/results/exhaustive.jsonl]

`tests/exhaustive.txt` lists them by name. In processes one after another, since
TensorFlow keeps compiled programs. Prints one JSON line: how many passed, which failed,
the commit, and seconds. Ends with 1 if any failed or was not run.
"""

import argparse
import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.scores import emit

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests" / "exhaustive.txt"
PARTS = 3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    names, started = LIST.read_text().splitlines(), time.perf_counter()
    files = sorted({name.partition("::")[0] for name in names})
    results = [run(files[n::PARTS]) for n in range(PARTS)]
    line = {
        "benchmark": "exhaustive",
        "tests": len(names),
        "passed": sum(passed for passed, _ in results),
        "failed": list(itertools.chain(*[failed for _, failed in results])),
        "commit": commit(),
        "seconds": round(time.perf_counter() - started),
    }
    emit(line, arguments.output)
    sys.exit(int(line["passed"] != len(names)))


def run(files):
    """`(number of tests passed, names of those that did not)`."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal"]
    command += ["-m", "exhaustive", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-3000:], file=sys.stderr, flush=True)
    found = re.findall(r"(\d+) passed", done.stdout)
    failed = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.M)
    return int(found[-1]) if found else 0, failed


def commit():
    """The name of what is tested; with a plus where files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
