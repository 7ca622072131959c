"""PPO and A2C reach known returns, and an agent without a signal does not.

The evidence over five seeds with full budgets is in `docs/results`; here are fewer
seeds and smaller budgets, so that a change which breaks learning is seen in minutes.
"""

import statistics
from functools import partial

import pytest
import tensorflow as tf
from gymnasium.spaces import MultiBinary, MultiDiscrete

from kerasrl2.agents import PPO, TRPO
from kerasrl2.zoo import settings
from kerasrl2.zoo.build import tuned_agent
from tests.agents.nested_worlds import STEPS, Minefield, Riddle
from tests.benchmarks.scores import PENALTY
from tests.benchmarks.workers import play
from tests.envs.worlds import Match
from tests.learning.reaching import first_to_reach

pytestmark = pytest.mark.learning


def greedy_return(algorithm, env_id, steps, seed, reached, **overrides):
    """Over 50 episodes, of the first of five evaluations that reaches so much."""
    agent, env, steps = tuned_agent(algorithm, env_id, steps, seed, overrides=overrides)
    return first_to_reach(agent, env, steps, reached, env_id, seed=10_000 + seed)


@pytest.mark.parametrize(
    ("algorithm", "env_id", "steps", "reached", "seeds", "needed"),
    [  # a random policy gets 22, 22, -499, -1223 and -33
        ("ppo", "CartPole-v1", 60_000, 475.0, 3, 3),
        ("a2c", "CartPole-v1", 500_000, 475.0, 3, 2),
        ("trpo", "CartPole-v1", 100_000, 475.0, 3, 3),
        ("trpo", "Pendulum-v1", 200_000, -250.0, 2, 2),
        ("ppo", "Acrobot-v1", 200_000, -100.0, 2, 2),
        ("ppo", "Pendulum-v1", 200_000, -250.0, 2, 2),
        ("ppo", "MountainCarContinuous-v0", 100_000, 90.0, 5, 4),
    ],
)
def test_reaches(algorithm, env_id, steps, reached, seeds, needed):
    returns = [
        greedy_return(algorithm, env_id, steps, s, reached) for s in range(seeds)
    ]
    assert sum(value >= reached for value in returns) >= needed, returns


@pytest.mark.parametrize(
    ("algorithm", "overrides"),
    [("ppo", PENALTY), ("ppo", {"vtrace": True}), ("a2c", {"vtrace": True})],
)
def test_variants_reach_as_much(algorithm, overrides):
    """A KL penalty instead of clipping; V-trace, where there is nothing to correct."""
    steps = {"ppo": 100_000, "a2c": 500_000}[algorithm]
    env_id = "CartPole-v1"
    returns = [
        greedy_return(algorithm, env_id, steps, s, 475.0, **overrides) for s in range(2)
    ]
    assert min(returns) >= 475.0, returns


@pytest.mark.filterwarnings("ignore:.*out of date.*:DeprecationWarning")  # its id
def test_a3c_holds_the_pole_up():
    """Two of up to five seeds, 50 episodes in a row with a mean of 190 of 200, in 800.

    In 600 episodes four of five in `docs/results/a3c.jsonl`. When workers meet differs
    from run to run, and with it what they learn, so that a seed may fail by itself. In
    the order in which episodes end, whichever of four workers plays them; a random
    policy gets 22.
    """
    runs = []
    while len(runs) < 5 and sum(run["first_190"] is not None for run in runs) < 2:
        runs.append(play("CartPole-v0", 800, len(runs), {}, reached=190.0))
    assert all(min(run["episodes_of_workers"]) > 0 for run in runs)
    assert sum(run["first_190"] is not None for run in runs) == 2, runs


@pytest.mark.filterwarnings("ignore:.*out of date.*:DeprecationWarning")  # its id
def test_a3c_does_not_with_random_actions():
    """The control: what is learned from was not played."""
    run = play("CartPole-v0", 300, 0, {}, shuffled=True)
    assert run["first_190"] is None
    assert run["last_100"] < 30.0


@pytest.mark.parametrize("space", [MultiDiscrete([2, 2, 2]), MultiBinary(3)], ids=str)
def test_several_actions_reach_the_optimum(space):
    """1.0 for all three right; a random policy gets 0.5."""
    for seed in range(5):
        agent = PPO.for_env(
            lambda: Match(space),
            entropy_coefficient=0.01,  # else some seeds stop to try too early
            num_envs=8,
            seed=seed,
        )
        env = partial(Match, space)
        assert first_to_reach(agent, env, 40_960, 1.0, env, episodes=100) == 1.0, seed


@pytest.mark.parametrize(
    ("world", "steps", "settings"),
    [
        (Riddle, 40_960, {"learning_rate": 1e-3, "entropy_coefficient": 0.03}),
        (Minefield, 8192, {"learning_rate": 3e-3}),
    ],
)
def test_nested_observations_and_masks_reach_the_optimum(world, steps, settings):
    """A dictionary whose parts matter; mines, which would end training."""
    for seed in range(5):
        agent = PPO.for_env(
            world(8), num_envs=8, seed=seed, rollout_length=32, **settings
        )
        score = first_to_reach(agent, world(8), steps, STEPS, world(8), episodes=100)
        assert score == STEPS, seed


class NoSignal:
    """A control: random advantages, so that there is nothing to learn from."""

    def advantages(self, rollout, value, next_value):
        advantage, target = super().advantages(rollout, value, next_value)
        step = tf.cast(self.optimizer.iterations.value, tf.int32)
        seed = tf.stack([step, 7])
        return tf.random.stateless_normal(advantage.shape, seed), target


class WithoutSignal(NoSignal, PPO):
    pass


class TRPOWithoutSignal(NoSignal, TRPO):
    pass


@pytest.mark.parametrize(
    ("agent_class", "seeds"), [(WithoutSignal, 4), (TRPOWithoutSignal, 3)]
)
def test_the_check_fails_without_a_signal(agent_class, seeds):
    name = "ppo" if agent_class is WithoutSignal else "trpo"
    hyperparameters = settings(name, "CartPole-v1")
    hyperparameters = {
        k: v
        for k, v in hyperparameters.items()
        if not isinstance(v, str) and k != "steps"
    }
    returns = []
    for seed in range(seeds):
        agent = agent_class.for_env("CartPole-v1", seed=seed, **hyperparameters)
        for _ in range(5):  # as often as those that learn are looked at
            agent.fit("CartPole-v1", steps=12_000, epochs=1, verbose=0)
            scores = agent.evaluate("CartPole-v1", episodes=50, greedy=False)
            returns.append(scores["return"])
    # A random walk of the weights now and then keeps the pole up for a while: over 16
    # runs of two versions 9 to 107, median 10. The check asks for 475.
    assert max(returns) < 0.5 * 475.0, returns
    assert statistics.median(returns) < 100.0, returns
