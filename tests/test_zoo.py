"""Tests of `kerasrl2.zoo`."""

import keras
import pytest

from kerasrl2 import agents, envs, zoo
from kerasrl2.agents.keywords import keywords_of

ENTRIES = [(name, id) for name in zoo.algorithms() for id in zoo.environments(name)]
QUICK = [(name, zoo.environments(name)[0]) for name in zoo.algorithms()]
QUICK += [e for e in ENTRIES if e[0] in ("ppo", "dqn") and "ALE/" not in e[1]]


def test_lists_what_there_is():
    assert zoo.algorithms() == sorted(agents.algorithms())
    assert {"CartPole-v1", "Acrobot-v1", "Pendulum-v1"} <= set(zoo.environments("ppo"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("algorithm", "env_id"),
    [
        # One of each algorithm, and of PPO and DQN all; but a buffer of a million
        # frames takes seconds to make.
        pytest.param(*entry, marks=[] if entry in QUICK else pytest.mark.long)
        for entry in ENTRIES
    ],
)
def test_settings_make_an_agent(algorithm, env_id):
    settings = zoo.settings(algorithm, env_id)
    agent_class = agents.algorithm(algorithm)
    assert settings.pop("steps") > 0
    assert set(settings) <= set(keywords_of(agent_class))
    agent = agent_class.for_env(env_id, **zoo.with_schedules(settings, 1000))
    loop = agent.loop_class(agent, envs.make(env_id, num_envs=agent.num_envs), 0, False)
    if hasattr(agent, "buffer"):
        assert agent.buffer.built
    else:
        size = getattr(agent, "batch_size", None) or loop.steps_per_iteration
        assert loop.steps_per_iteration % size == 0


def test_unknown_environments_have_no_settings():
    assert zoo.settings("ppo", "Nowhere-v0") == {}


def test_settings_are_copies():
    zoo.settings("ppo", "CartPole-v1")["gamma"] = 0.0
    assert zoo.settings("ppo", "CartPole-v1")["gamma"] > 0.5


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("linear 1e-3", 1e-3, 0.0),
        ("linear 0.2 0.02", 0.2, 0.02),
        ("linear  3 1 ", 3, 1),
    ],
)
def test_linear_schedules(text, start, end):
    values = zoo.with_schedules({"a": text, "b": "tanh", "c": 1.0}, 100)
    schedule = values.pop("a")
    assert values == {"b": "tanh", "c": 1.0}
    assert isinstance(schedule, keras.optimizers.schedules.PolynomialDecay)
    middle = (start + end) / 2
    steps = {0: start, 50: middle, 100: end, 150: end}
    for step, value in steps.items():
        assert float(schedule(step)) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize(
    "text",
    ["linear", "linear fast", "linear 1 2 3", "linear1", "linear -1", "linear 1 -1",
     "linear nan", "linear 1 inf"],
)  # fmt: skip
def test_what_is_no_schedule_is_named(text):
    with pytest.raises(ValueError, match=rf"`gamma` .*'linear START \[END\]'.*{text}"):
        zoo.with_schedules({"gamma": text}, 100)
