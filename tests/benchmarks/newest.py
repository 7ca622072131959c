"""The quick tests on the newest TensorFlow and Keras that the registry offers.

    python -m tests.benchmarks.newest DIR
    python -m tests.benchmarks.newest DIR -n 4 tests/losses tests/layers
    python -m tests.benchmarks.newest --install-only DIR

Makes a virtual environment in DIR, or goes on with the one there, and installs this
checkout with its extra `test`, then the newest TensorFlow and Keras whatever bounds
`pyproject.toml` sets. What follows DIR goes to pytest. Prints the versions, which
bounds they are beyond, and the tests that failed; ends as pytest does.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from xml.etree import ElementTree

CHECKOUT = Path(__file__).parents[2]
NEWEST = ["tensorflow", "keras", "tf_keras", "tensorboard"]  # the latter follow
SHOWN = [*NEWEST, "tensorflow-probability", "numpy", "gymnasium"]
QUICK = ["-m", "not learning and not long"]
VERSIONS = (
    "import importlib.metadata, json\n"
    "print(json.dumps({name: importlib.metadata.version(name) for name in %r}))"
)


def install(directory):
    """Makes or renews the environment; returns the path of its Python."""
    directory.mkdir(parents=True, exist_ok=True)
    python = directory / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(directory / "venv", with_pip=True)
    for arguments in (["-e", f"{CHECKOUT}[test]"], ["--upgrade", *NEWEST]):
        # The second call only warns of bounds of packages that it was not asked for.
        run(python, "-m", "pip", "install", "--quiet", *arguments, check=True)
    return python


def run(python, *arguments, **options):
    """Runs Python in the checkout, without what leads it to other packages."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, text=True, **options)


def versions(python):
    """Dictionary of names to versions, and what `pip check` finds wrong, by lines."""
    result = run(python, "-c", VERSIONS % SHOWN, capture_output=True, check=True)
    beyond = run(python, "-m", "pip", "check", capture_output=True, check=False)
    lines = beyond.stdout.strip().splitlines() if beyond.returncode else []
    return json.loads(result.stdout), lines


def test(python, report, arguments):
    """Runs pytest, which writes `report`; returns its exit code."""
    report.unlink(missing_ok=True)
    options = [*QUICK, f"--junitxml={report}", *(arguments or ["-n", "2"])]
    return run(python, "-m", "pytest", *options, check=False).returncode


def failed(report):
    """`(number of tests, failures)` of a report: dictionaries of name and reason."""
    tests = list(ElementTree.parse(report).iter("testcase"))
    failures = []
    for case in tests:
        for kind in ("failure", "error"):
            for problem in case.iter(kind):
                reason = problem.get("message", "").partition("\n")[0]
                name = f"{case.get('classname')}.{case.get('name')}"
                failures.append({"test": name, kind: reason})
    return len(tests), failures


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--install-only", action="store_true", help="run no test")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("pytest", nargs=argparse.REMAINDER, help="for pytest")
    options = parser.parse_args(arguments)
    directory = options.directory.resolve()
    python = install(directory)
    found, beyond = versions(python)
    print(json.dumps({"versions": found, "beyond": beyond}), flush=True)
    if options.install_only:
        return 0
    report = directory / "report.xml"
    code = test(python, report, options.pytest)
    if not report.exists():
        print(f"Expected a report of pytest. Received: exit code {code}")
        return code or 1
    number, failures = failed(report)
    for failure in failures:
        print(json.dumps(failure))
    print(json.dumps({"tests": number, "failed": len(failures), "exit": code}))
    return code


if __name__ == "__main__":
    sys.exit(main())
