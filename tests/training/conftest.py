"""Fixtures of the tests of loops."""

import pytest

from kerasrl2.training import programs


@pytest.fixture(scope="module")
def no_programs():
    """Forgets compiled programs, which agents of equal structure share.

    For tests that count how often something is traced.
    """
    programs._programs.clear()
