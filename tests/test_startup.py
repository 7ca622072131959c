"""What importing costs and prints, in processes of their own."""

import os
import subprocess
import sys

import pytest

import kerasrl2

HEAVY = {"tensorflow", "keras", "tensorflow_probability", "tf_keras", "matplotlib",
         "ray", "rich", "typer", "gymnasium", "numpy", "yaml"}  # fmt: skip
LOADED = f"import sys; print(sorted({HEAVY!r} & set(sys.modules)))"
FIT = """
import kerasrl2 as krl
from kerasrl2.returns import generalized_advantages
import sys
assert "tensorflow_probability" not in sys.modules
make = krl.agents.A2C.for_env
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)  # until something is computed
agent = krl.agents.A2C.for_env("CartPole-v1", hidden=(4,), seed=0, xla=False)
for i in range(4):
    fresh = krl.agents.A2C.for_env("CartPole-v1", hidden=(), seed=i, xla=False)
    fresh.fit("CartPole-v1", steps=40, epochs=1, verbose=0)
history = agent.fit("CartPole-v1", steps=80, epochs=2)
agent.evaluate("CartPole-v1", episodes=2)
for unwanted in ("tensorflow_probability", "tf_keras", "ray", "typer"):
    assert unwanted not in sys.modules, unwanted
"""


def run(*arguments):
    """Runs Python as a user would: without the tests' own log level."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TF_", "MPL", "SDL"))
    }
    environment["KERASRL2_CACHE"] = ""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment,
        check=False, timeout=120,
    )  # fmt: skip


def test_import_is_silent_and_light():
    result = run("-X", "importtime", "-c", f"import kerasrl2; {LOADED}")
    assert result.stdout == "[]\n"
    lines = result.stderr.splitlines()
    assert all(line.startswith("import time:") for line in lines)


def test_help_needs_no_tensorflow():
    code = (
        "import sys; from kerasrl2.cli import main\n"
        "sys.argv = ['kerasrl2', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    result = run("-c", code)
    assert (result.returncode, result.stderr) == (0, "")
    for command in ("train", "evaluate", "plot", "list"):
        assert command in result.stdout


def test_fit_prints_its_own_lines_only():
    result = run("-c", FIT)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("epoch ") for line in lines)
    assert result.returncode == 0


def test_a_failing_import_shows_what_was_kept_back():
    code = (
        "import os, sys, types\n"
        "class Loud:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'tensorflow':\n"
        "            os.write(2, b'native reason\\n'); raise ImportError('broken')\n"
        "sys.meta_path.insert(0, Loud())\n"
        "import kerasrl2._startup"
    )
    result = run("-c", code)
    assert "native reason" in result.stderr
    assert "ImportError: broken" in result.stderr


def test_rooms_are_attributes_and_listed():
    assert set(dir(kerasrl2)) == set(kerasrl2.__all__)
    for name in kerasrl2.__all__:
        assert getattr(kerasrl2, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'rooms'"):
        kerasrl2.rooms  # noqa: B018
