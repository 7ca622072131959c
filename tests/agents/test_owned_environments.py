"""Who makes an environment closes it; what is given as an object stays open."""

import gc

import pytest

from kerasrl2 import callbacks, envs
from kerasrl2.agents import A2C, DQN
from tests.envs.worlds import ThreeSteps

SETTINGS = {"hidden": (), "seed": 0, "xla": False}


@pytest.fixture
def made():
    """Environments that `recipe(made)` made."""
    return []


def recipe(made, kind=ThreeSteps):
    def make():
        made.append(kind())
        return made[-1]

    return make


def still_open(made):
    return sum(env.closed == 0 for env in made)


def evaluator(agent, env, episodes):
    """What `agent.evaluate` plays with, without playing: that takes a second."""
    return agent._runtime.evaluator(agent, env, episodes)


def agent_for(env=ThreeSteps, kind=A2C, **settings):
    return kind.for_env(env, **SETTINGS, **settings)


@pytest.mark.parametrize("kind", [A2C, DQN])
def test_for_env_closes_what_it_looked_at(made, kind):
    agent_for(recipe(made), kind)
    assert [env.closed for env in made] == [1]
    given = ThreeSteps()
    agent_for(given, kind)
    assert given.closed == 0


def test_for_env_closes_what_it_refuses(made):
    box = recipe(made, lambda: envs.registry.make_single("Pendulum-v1"))
    closed = []
    with pytest.raises(ValueError, match="Discrete actions"):
        agent_for(lambda: watched(box(), closed), DQN)
    assert closed == made


def watched(env, closed):
    env.close = lambda: closed.append(env)
    return env


def test_ten_evaluations_of_new_callables(made):
    agent = agent_for()
    for i in range(10):
        evaluator(agent, recipe(made), 2)
        assert still_open(made) == 2 * min(i + 1, 8)  # eight evaluators are kept
    agent.close()
    assert still_open(made) == 0
    assert {env.closed for env in made} == {1}


def test_the_evaluator_used_last_stays(made):
    agent, kept = agent_for(), []
    often = recipe(kept)
    for _ in range(10):
        evaluator(agent, often, 1)
        evaluator(agent, recipe(made), 1)
    assert [env.closed for env in kept] == [0]
    agent.close()
    assert [env.closed for env in kept] == [1]


def test_close_leaves_what_was_given_and_an_agent_that_goes_on(made):
    given, validation = ThreeSteps(), envs.make(ThreeSteps)
    with agent_for(num_envs=1) as agent:
        agent.loop_on(given)
        evaluator(agent, validation, 1)
        agent.loop_on(recipe(made))
        assert still_open(made) == 1
    assert still_open(made) == 0
    assert (given.closed, validation.envs[0].closed) == (0, 0)
    agent.loop_on(recipe(made))
    evaluator(agent, recipe(made), 2)
    assert still_open(made) == 3
    agent.close()
    agent.close()
    assert {env.closed for env in made} == {1}


@pytest.mark.long
def test_the_end_of_the_agent_closes_the_rest(made):
    def run():
        agent = agent_for(num_envs=1)
        evaluation = callbacks.EvaluateReturn(recipe(made), episodes=3)
        agent.fit(
            recipe(made), 5, 1, [evaluation], validation_env=recipe(made), verbose=0
        )
        agent.act([0.0, 0.0, 0.0])
        assert still_open(made) == len(made) == 1 + 10 + 3

    run()
    gc.collect()
    assert still_open(made) == 0


def test_what_does_not_fit_the_agent_is_closed(made):
    agent = agent_for("CartPole-v1")
    for use in (
        lambda: agent.evaluate(recipe(made), episodes=2),
        lambda: agent.fit(recipe(made), steps=10, num_envs=2),
    ):
        with pytest.raises(ValueError, match="observations this agent was made for"):
            use()
    assert len(made) == 4
    assert still_open(made) == 0


def test_a_loop_that_cannot_be_made_closes_its_environments(made):
    agent = agent_for(rollout_length=5, num_envs=2)
    agent.batch_size = 3
    with pytest.raises(ValueError, match="`batch_size` to divide"):
        agent.fit(recipe(made), steps=10)
    assert len(made) == 2
    assert still_open(made) == 0


def test_a_failing_close_is_told_and_stops_nothing(made):
    class Fails(ThreeSteps):
        def close(self):
            super().close()
            raise ZeroDivisionError("on the way out")

    agent = agent_for()
    evaluator(agent, recipe(made, Fails), 2)
    evaluator(agent, recipe(made), 2)
    with pytest.warns(UserWarning, match="raised ZeroDivisionError: on the way out"):
        agent.close()
    assert still_open(made) == 0


def test_instances_with_a_call_are_no_recipes():
    class Callable(ThreeSteps):
        def __call__(self):
            raise AssertionError

    assert not envs.registry.is_recipe(Callable())
    assert envs.registry.is_recipe(Callable)
    assert envs.registry.is_recipe("CartPole-v1")
    assert not envs.registry.is_recipe(envs.make("CartPole-v1"))
