"""Fixtures for all tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("MPLBACKEND", "agg")

import json
from pathlib import Path

import pytest
import tensorflow as tf

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(params=["eager", "graph", "xla"])
def compiled(request):
    """Wraps a function in each way users run it."""
    return {
        "eager": lambda function: function,
        "graph": tf.function,
        "xla": tf.function(jit_compile=True),
    }[request.param]


@pytest.fixture(scope="session")
def golden():
    """Loads a file of reference vectors by its stem."""
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text())
