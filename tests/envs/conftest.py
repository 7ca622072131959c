"""Fixtures for the tests of environments."""

import pytest
import tensorflow as tf


@pytest.fixture(params=["eager", "graph"])
def mode(request):
    """A bridge runs Python, so it knows no XLA."""
    return tf.function if request.param == "graph" else lambda function: function
