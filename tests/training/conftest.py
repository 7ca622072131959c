"""Fixtures of the tests of loops."""

import pytest

from kerasrl2.training import programs


@pytest.fixture(scope="module", autouse=True)
def programs_of_this_module():
    """No program of another module is taken over: traces are counted here."""
    programs._programs.clear()
