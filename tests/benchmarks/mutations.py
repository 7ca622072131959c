"""Breaks the package on purpose, one place at a time: how many breaks do tests find?

    python -m tests.benchmarks.mutations [--only ROOM] [--processes 2]

Each row of `mutations.csv` is a file of the package, a piece of text that is in it
once, what it becomes, and the tests of that room. A break is found if they fail. Rows
whose text is gone are an error: the table is to be kept in step with the code.
"""

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("mutations.csv")
QUICK = ["-m", "not learning and not long"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose file begins so")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout to break")
    arguments = parser.parse_args()
    with TABLE.open() as file:
        rows = [r for r in csv.DictReader(file) if r["file"].startswith(arguments.only)]
    found = 0
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "checkout"
        leave_out = shutil.ignore_patterns(".*", "runs", "docs", "__pycache__")
        shutil.copytree(arguments.root, copy, ignore=leave_out)
        shutil.copytree(arguments.root / "docs", copy / "docs")
        for row in rows:
            started = time.perf_counter()
            output = broken(copy, row, arguments.processes)
            found += output is not None
            verdict = "found" if output else "SURVIVED"
            seconds = time.perf_counter() - started
            print(f"{verdict:8} {seconds:5.0f} s  {row['file']}: {row['after']}")
            print(f"{'':18}{output or ''}", flush=True)
    print(f"{found} of {len(rows)} found")


def broken(copy, row, processes):
    """The first failure that a break leads to, or None."""
    path = copy / "kerasrl2" / row["file"]
    text = path.read_text()
    if text.count(row["before"]) != 1:
        raise SystemExit(
            f"Expected once in {row['file']}: {row['before']!r}. Received: "
            f"{text.count(row['before'])} times"
        )
    path.write_text(text.replace(row["before"], row["after"]))
    command = [sys.executable, "-m", "pytest", "-x", "-n", str(processes), *QUICK]
    try:
        run = subprocess.run(
            [*command, *row["tests"].split()], cwd=copy, capture_output=True, text=True
        )
    finally:
        path.write_text(text)
    if run.returncode == 0:
        return None
    failures = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
    if run.returncode != 1 and not failures:  # 2: stopped at the first failure
        raise SystemExit(run.stdout + run.stderr)
    return (failures or ["an error outside of tests"])[0][:100]


if __name__ == "__main__":
    main()
