"""Agents of equal structure run one program."""

import pytest

from tests.benchmarks.many_agents import measure


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_later_agents_cost_next_to_nothing(algorithm):
    """45 MB of a compiled program each, and its seconds, if none was shared."""
    figures = measure(algorithm, 8)
    assert figures["later_megabytes"] < 5.0
    made = figures["later_seconds"] - figures["training_seconds"]
    assert made < 0.25 * figures["first_seconds"]
