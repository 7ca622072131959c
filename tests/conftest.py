"""Fixtures for all tests."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("MPLBACKEND", "agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # each waits less with a thread of its own
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import json
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

# Graphs are made of many small objects that live long: looking through all of them
# for cycles time and again takes a twentieth of the time. So it is done where memory
# has grown: agents are in cycles, with their buffers.
gc.set_threshold(100_000, 50, 1000)
MEGABYTES = 300  # by which it may grow

# A shell that runs them in the background has tests, and their children, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GOLDEN = Path(__file__).parent / "golden"
EXHAUSTIVE = set(Path(__file__).with_name("exhaustive.txt").read_text().splitlines())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what `exhaustive.txt` lists; the directory of the checkout is the root."""
    for item in items:
        if item.nodeid in EXHAUSTIVE:
            item.add_marker(pytest.mark.exhaustive)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Weights and seeds that nobody chose are the same, alone or beside others."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish():
    used = _megabytes()
    if used > pytest_runtest_logfinish.after + MEGABYTES:
        gc.collect()
        pytest_runtest_logfinish.after = _megabytes()


pytest_runtest_logfinish.after = 0


def _megabytes():
    """Memory of this process; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


@pytest.fixture(params=["eager", "graph", pytest.param("xla", marks=pytest.mark.long)])
def compiled(request):
    """Wraps a function in each way users run it; by XLA in the long runs."""
    return {
        "eager": lambda function: function,
        "graph": tf.function,
        "xla": tf.function(jit_compile=True),
    }[request.param]


@pytest.fixture(scope="session")
def golden():
    """Loads a file of reference vectors by its stem."""
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text())
