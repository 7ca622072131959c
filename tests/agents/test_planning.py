"""How many gradient steps a run makes, and what another rollout size changes."""

import pytest

from kerasrl2.agents import A2C, DQN, PPO, Rainbow, algorithm, algorithms, registration
from kerasrl2.agents.planning import (
    keep_minibatches,
    off_policy_updates,
    on_policy_updates,
)
from tests.training.runs import home_of


@pytest.mark.parametrize(
    ("settings", "steps", "expected"),
    [
        ({"batch_size": None}, 40, 1),
        ({}, 41, 2),
        ({"num_epochs": 3}, 40, 3),
        ({"num_epochs": 3, "batch_size": 10}, 81, 3 * 3 * 4),
        ({"batch_size": 80}, 40, 1),
    ],
)
def test_on_policy(settings, steps, expected):
    rollout = {"rollout_length": 20, "num_envs": 2}
    assert on_policy_updates({**rollout, **settings}, steps) == expected
    assert A2C.planned_updates({**rollout, **settings}, steps) == expected


@pytest.mark.parametrize(("steps", "expected"), [(80, 30), (87, 30), (7, 1)])
def test_off_policy(steps, expected):
    settings = {"train_frequency": 4, "num_envs": 2, "gradient_steps": 3}
    assert off_policy_updates(settings, steps) == expected
    assert Rainbow.planned_updates(settings, steps) == expected


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in algorithms() if name != "random"])
def test_as_many_as_a_run_makes(name):
    agent_class, quick = algorithm(name), registration(name).quick
    agent = agent_class.for_env(home_of(name), xla=False, **quick)
    agent.fit(home_of(name), steps=256, epochs=1, verbose=0)
    optimizers = agent.optimizers()
    settings = {k: getattr(agent, k, None) for k in (
        "num_envs", "rollout_length", "batch_size", "num_epochs",
        "train_frequency", "gradient_steps")}  # fmt: skip
    planned = agent.planned_updates(settings, 256)
    optimizer, _ = optimizers.get("critic") or optimizers["optimizer"]
    made = int(optimizer.iterations)
    assert made > 0
    assert made <= planned <= made + 64  # until `learning_starts`


@pytest.mark.parametrize(
    ("tuned", "overrides", "expected"),
    [
        ({"batch_size": 64}, {}, 64),
        ({"batch_size": 64}, {"num_envs": 4}, 32),
        ({"batch_size": 64}, {"num_envs": 4, "batch_size": 128}, 128),
        ({"batch_size": 64}, {"rollout_length": 1, "num_envs": 1}, 1),
        ({}, {"num_envs": 4}, None),
    ],
)
def test_minibatches_are_kept(tuned, overrides, expected):
    tuned = {"rollout_length": 32, "num_envs": 8, **tuned}
    settings = {**tuned, **overrides}
    adapted = keep_minibatches(settings, tuned, overrides)
    assert adapted.get("batch_size") == expected
    assert settings == {**tuned, **overrides}
    assert PPO.adapt_settings(settings, tuned, overrides) == adapted
    assert DQN.adapt_settings(settings, tuned, overrides) is settings
