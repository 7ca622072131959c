"""What `exhaustive.txt` lists is there, and others of its kind are not listed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import EXHAUSTIVE

ROOT = Path(__file__).parents[1]
FILES = sorted({name.partition("::")[0] for name in EXHAUSTIVE})


def collected(expression):
    """Names of the tests of these files that an expression of marks selects."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-n", "0"]
    command += ["-o", "addopts=", "-q", "-m", expression, *FILES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.long
def test_the_list_is_of_long_tests_that_exist():
    names = (ROOT / "tests" / "exhaustive.txt").read_text().splitlines()
    assert names == sorted(EXHAUSTIVE)
    assert names == sorted(collected("long and exhaustive"))


@pytest.mark.long
def test_of_each_test_with_parameters_some_run_in_ci():
    left = {name.partition("[")[0] for name in collected("not exhaustive")}
    for name in sorted(EXHAUSTIVE):
        test, bracket, _ = name.partition("[")
        assert not bracket or test in left, name
