"""Fixtures for tests of agents."""

import pytest
import tensorflow as tf


@pytest.fixture
def eager():
    """Nothing is traced: what is run is too short for it to pay."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
