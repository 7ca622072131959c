"""REINFORCE, Q actor-critic and A2C by single steps learn; controls do not.

The evidence over 20 and 3 seeds is in `docs/results/policy_gradients.jsonl`; here are
fewer, of the same runs.
"""

import pytest

from tests.benchmarks.policy_gradients import play

pytestmark = pytest.mark.learning


def last_hundred(case, seeds):
    """Mean returns of the last 100 of 600 episodes of CartPole-v0."""
    return [play(case, seed)["last_100"] for seed in range(seeds)]


def test_reinforce_learns():
    """19 of 20 seeds reach 150."""
    returns = last_hundred("reinforce", 4)
    assert sum(value >= 150.0 for value in returns) >= 3, returns


@pytest.mark.parametrize("case", ["shuffled actions", "unrelated actions"])
def test_and_not_from_other_actions(case):
    """1 and 0 of 20."""
    returns = last_hundred(case, 3)
    assert sum(value >= 150.0 for value in returns) <= 1, returns


def test_the_episodic_actor_critic_solves_it():
    """20 of 20 seeds within 600 episodes, by the running return."""
    solved = [play("episodic", seed)["solved_at"]["running"] for seed in range(4)]
    assert all(n is not None and n <= 600 for n in solved), solved


@pytest.mark.parametrize(
    ("case", "reached"), [("per step", 150.0), ("8 x 5 steps", 195.0), ("q", 150.0)]
)
def test_updates_within_episodes(case, reached):
    """In one window of the run; some collapse later."""
    windows = play(case, 0)["window_returns"]
    assert max(windows) >= reached, windows
