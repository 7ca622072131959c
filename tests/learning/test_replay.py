"""Prioritized replay learns Blind Cliffwalk in a fraction of the updates."""

import statistics

import pytest

from tests.benchmarks.blind_cliffwalk import updates_needed

pytestmark = pytest.mark.learning


@pytest.mark.parametrize(
    ("replay", "least", "most"),
    [  # medians of ten seeds: 28 388, 3 414, 3 544
        ("uniform", 20_000, 40_000),  # the control
        ("proportional, alpha 0.6", 1_000, 5_000),
        ("proportional, alpha 1", 1_000, 5_000),
    ],
)
def test_blind_cliffwalk_of_ten_states(replay, least, most):
    updates = updates_needed(10, replay, seeds=range(6))
    assert least <= statistics.median(updates) <= most, updates
    assert len(set(updates)) == 6  # the seeds are different runs
