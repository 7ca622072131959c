"""Fixtures for tests of several agents."""

from tests.agents.conftest import eager

__all__ = ["eager"]
