"""Tests of `Agent.fit`: which environments it takes, and what if they fail."""

import numpy as np
import pytest

from kerasrl2 import envs
from kerasrl2.agents import A2C
from kerasrl2.errors import EnvironmentFailure
from tests.envs.worlds import Fails, ThreeSteps

TRACE = {"hidden": (4,), "rollout_length": 5, "xla": False}


@pytest.mark.long
def test_ids_callables_instances_and_environments():
    agent = A2C.for_env(ThreeSteps, seed=0, num_envs=2, **TRACE)
    for env, copies in [
        (ThreeSteps, 2),
        (ThreeSteps(), 1),
        (envs.make(ThreeSteps, num_envs=3), 3),
    ]:
        loop = agent.loop_on(env)
        assert loop.steps_per_iteration == 5 * copies == 5 * loop.env.num_envs
    agent.fit(env, steps=1, epochs=1, verbose=0)
    assert int(agent.env_steps) == 5 * 3


def test_what_was_made_for_a_run_is_closed_and_what_was_given_is_not():
    made = []

    def make():
        made.append(ThreeSteps())
        return made[-1]

    agent = A2C.for_env(ThreeSteps, seed=0, num_envs=2, **TRACE)
    agent.fit(make, steps=10, epochs=1, verbose=0)
    given = ThreeSteps()
    agent.loop_on(given)
    agent.loop_on(ThreeSteps)
    assert [env.closed for env in made] == [1, 1]
    assert given.closed == 0


@pytest.mark.parametrize(
    ("where", "at"),
    [("reset", 1), pytest.param("reset", 2, marks=pytest.mark.long), ("step", 4)],
)
def test_an_exception_of_the_environment_keeps_its_cause(where, at):
    def fault(result):
        raise KeyError("lost the ball")

    agent = A2C.for_env(ThreeSteps, seed=0, **TRACE)
    before = agent.get_weights()
    envs_made = iter([ThreeSteps(), Fails(where, at, fault)])
    with pytest.raises(EnvironmentFailure, match="lost the ball") as error:
        agent.fit(lambda: next(envs_made), 40, 1, num_envs=2, verbose=0)
    assert isinstance(error.value.__cause__, KeyError)
    assert error.value.index == 1
    if where == "step":
        assert error.match(r"environment 1 of 2 from 0, step 4, given action [012]")
    for a, b in zip(before, agent.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_after_a_failure_the_agent_trains_on():
    calls = iter(range(99))

    def fault(result):
        raise KeyboardInterrupt if next(calls) else ValueError("once")

    agent = A2C.for_env(ThreeSteps, seed=0, **TRACE)
    failing = Fails("step", 3, fault)
    with pytest.raises(EnvironmentFailure, match="once"):
        agent.fit(failing, steps=10, epochs=1, verbose=0)
    history = agent.fit(failing, steps=10, epochs=1, verbose=0)
    assert history.history["episodes"] == [3.0]
    failing.calls["step"] = 0
    with pytest.raises(KeyboardInterrupt):  # Ctrl-C while the environment steps
        agent.fit(failing, steps=10, epochs=1, verbose=0)
    assert agent.fit(failing, steps=10, epochs=1, verbose=0).epoch == [0]
