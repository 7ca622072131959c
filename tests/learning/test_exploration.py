"""A bonus for what is new finds a goal that a policy without it does not.

The evidence over ten seeds is in `docs/results/rnd.jsonl`.
"""

import pytest

from tests.benchmarks.exploration import play

pytestmark = pytest.mark.learning


def test_a_sparse_goal_is_reached_with_the_bonus_alone():
    """In 9 of 10 episodes from the 101st on; the control is the same agent without."""
    for seed in range(3):
        with_bonus, without = (play(seed, bonus) for bonus in (True, False))
        assert with_bonus["arrived_101_to_200"] >= 0.9, with_bonus
        assert without["arrived_101_to_200"] <= 0.5, without
