"""What importing costs and prints, in processes of their own."""

from kerasrl2._startup import native_chatter_kept_back

import os
import subprocess
import sys
import threading

import pytest

import kerasrl2
from kerasrl2 import _startup

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
krl.distributions.Beta([0.0], [1.0]).sample([[0.0, 0.0]], [0, 1])
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


@pytest.mark.long
def test_fit_prints_its_own_lines_only():
    result = run("-c", FIT)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "compiling ..."
    assert lines[1].split()[:2] == ["epoch", "steps"]
    assert [line.split()[0] for line in lines[2:]] == ["1/2", "2/2"]
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


# Descriptor 2


def chatter(text):
    os.write(2, f"{text}\n".encode())


def where():
    """What descriptor 2 leads to."""
    status = os.fstat(2)
    return status.st_dev, status.st_ino


def run_threads(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_kept_back_and_put_back(capfd):
    before = where()
    with native_chatter_kept_back():
        chatter("kept")
        print("said", file=sys.stderr)
        assert where() != before
    chatter("after")
    assert where() == before
    assert capfd.readouterr().err == "said\nafter\n"


def test_within_itself(capfd):
    before = where()
    with native_chatter_kept_back():
        with native_chatter_kept_back():
            chatter("inner")
        assert where() != before
        chatter("outer")
    assert where() == before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("first_leaves_first", [True, False])
def test_threads_that_overlap(capfd, first_leaves_first):
    """As two compilations do: whoever leaves first, the last puts all back."""
    before, inside = where(), []
    entered, may_leave = threading.Event(), threading.Event()
    both_inside = threading.Event()

    def first():
        with native_chatter_kept_back():
            entered.set()
            both_inside.wait(60)
            chatter("first")
            if not first_leaves_first:
                may_leave.wait(60)
                inside.append(where())
        may_leave.set()

    def second():
        entered.wait(60)
        with native_chatter_kept_back():
            both_inside.set()
            chatter("second")
            if first_leaves_first:
                may_leave.wait(60)
                inside.append(where())
        may_leave.set()

    run_threads(first, second)
    assert inside[0] != before, "the last is still inside"
    assert where() == before
    chatter("after")
    assert capfd.readouterr().err == "after\n"


def test_an_exception_in_one_of_two_threads(capfd):
    """Shows what was kept since its blocks began, once; the other goes on."""
    before, after_failure = where(), []
    inside, failed = threading.Event(), threading.Event()

    def quiet():
        with native_chatter_kept_back():
            chatter("earlier")
            inside.set()
            failed.wait(60)
            after_failure.append(where())
            chatter("later")

    def failing():
        inside.wait(60)
        with pytest.raises(ZeroDivisionError):
            fail()
        failed.set()

    def fail():
        with native_chatter_kept_back():
            chatter("before")
            with native_chatter_kept_back():
                chatter("reason")
                raise ZeroDivisionError

    run_threads(quiet, failing)
    assert after_failure[0] != before
    assert where() == before
    assert capfd.readouterr().err == "reason\nbefore\n"


def test_many_threads_many_times(capfd):
    before, descriptors = where(), len(os.listdir("/proc/self/fd"))
    modules = sys.stderr, sys.__stderr__

    def work():
        for i in range(200):
            try:
                with native_chatter_kept_back():
                    assert where() != before
                    if i % 50 == 0:
                        raise KeyError
            except KeyError:
                pass

    run_threads(*[work] * 8)
    assert where() == before
    assert (sys.stderr, sys.__stderr__) == modules
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert capfd.readouterr().err == ""


def test_without_an_error_stream_or_a_place_for_files(monkeypatch, capfd):
    before, ran = where(), []

    def none(*_, **__):
        raise FileNotFoundError("no usable temporary directory")

    with monkeypatch.context() as patch:
        patch.setattr(_startup.tempfile, "TemporaryFile", none)
        with native_chatter_kept_back():
            ran.append(where())
        with pytest.raises(KeyError), native_chatter_kept_back():
            raise KeyError
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        with native_chatter_kept_back():
            ran.append(where())
    assert ran == [before, before]
    assert where() == before


@pytest.mark.long
def test_handlers_made_meanwhile_go_on_writing():
    """TensorFlow makes its logger's while it is imported."""
    code = (
        "import contextlib, io, sys\n"
        "from kerasrl2._startup import native_chatter_kept_back\n"
        "import tensorflow as tf\n"
        "tf.get_logger().warning('from its logger')\n"
        "with native_chatter_kept_back():\n"
        "    tf.get_logger().warning('and inside')\n"
        "    print('by Python \\udcff', file=sys.stderr)\n"
        "    mine = contextlib.redirect_stderr(io.StringIO())\n"
        "    mine.__enter__()\n"
        "mine.__exit__(None, None, None)\n"
        "with native_chatter_kept_back(): print('last', file=sys.stderr)\n"
        "tf.get_logger().warning('end')\n"
        "print('end', file=sys.stderr)"
    )
    result = run("-c", code)
    lines = [line.rpartition("tensorflow:")[2] for line in result.stderr.splitlines()]
    assert lines == ["from its logger", "and inside", "by Python \\udcff", "last",
                     "end", "end"]  # fmt: skip
