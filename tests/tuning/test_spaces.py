"""Tests of `kerasrl2.tuning.spaces`."""

import random

import optuna
import pytest

from kerasrl2 import _algorithms, agents, zoo
from kerasrl2.agents.keywords import keywords_of
from kerasrl2.cli.values import check_kinds
from kerasrl2.tuning import check_space, search_space, suggest
from kerasrl2.zoo.build import tuned_agent

TUNABLE = [name for name in _algorithms.built_in() if name != "random"]


class Random:
    """A trial that draws by itself, at the ends of a range as often as between."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def suggest_categorical(self, name, choices):
        return self.random.choice(choices)

    def suggest_float(self, name, low, high, log=False):
        return self.random.choice([low, high, self.random.uniform(low, high)])

    def suggest_int(self, name, low, high, log=False):
        return self.random.choice([low, high, self.random.randint(low, high)])


@pytest.mark.long
@pytest.mark.parametrize("algorithm", TUNABLE)
def test_each_algorithm_knows_what_is_varied(algorithm):
    space = search_space(algorithm)
    agent_class = agents.algorithm(algorithm)
    assert {"learning_rate", "gamma"} <= set(space) <= set(keywords_of(agent_class))
    for seed in range(20):
        check_kinds(suggest(Random(seed), algorithm), agent_class)


@pytest.mark.long
@pytest.mark.parametrize("algorithm", TUNABLE)
def test_whatever_is_suggested_makes_an_agent(algorithm):
    env = zoo.environments(algorithm)[0]
    for seed in range(8):
        replays = "buffer_size" in keywords_of(agents.algorithm(algorithm))
        fixed = {"buffer_size": 1000} if replays else {}
        settings = {**suggest(Random(seed), algorithm, fixed), **fixed}
        agent, made, _ = tuned_agent(algorithm, env, 5000, 0, overrides=settings)
        assert agent.loop_on(made).steps_per_iteration >= 1


def test_an_algorithm_that_learns_nothing():
    with pytest.raises(ValueError, match=r"something to tune\. Received: 'random'"):
        search_space("random")
    with pytest.raises(ValueError, match="Expected `algorithm`"):
        search_space("nothing")


def test_algorithms_of_others_get_the_names_they_have(monkeypatch):
    class Mine(agents.DQN):
        @classmethod
        def for_env(cls, env, learning_rate=1e-3, tau=0.1, mine=3):
            raise NotImplementedError

    place = _algorithms.Place("elsewhere", "Mine")
    monkeypatch.setattr(_algorithms, "place", lambda name: place)
    monkeypatch.setattr(agents, "algorithm", lambda name: Mine)
    space = search_space("mine")
    assert {"learning_rate", "tau"} <= set(space)
    assert "entropy_coefficient" not in space  # DQN has none
    assert "mine" not in space


def test_values_of_each_kind():
    space = {
        "rate": {"log": [1e-5, 1e-2]},
        "share": {"uniform": [0.0, 1.0]},
        "count": {"log": [1, 100]},
        "number": {"uniform": [1, 4]},
        "word": {"choices": ["a", "b"]},
    }
    given = {"rate": 1.23456e-4, "share": 0.98765, "count": 7, "number": 2, "word": "b"}
    values = suggest(optuna.trial.FixedTrial(given), space)
    assert values == {**given, "rate": 1.23e-4, "share": 0.988}
    assert isinstance(values["count"], int)
    assert isinstance(values["number"], int)
    bounds = optuna.trial.FixedTrial({"rate": 1.0049e-2})
    assert suggest(bounds, {"rate": {"log": [1e-5, 1.0049e-2]}})["rate"] <= 1.0049e-2


def test_only_log_ranges_are_searched_by_their_logarithms():
    class Noting:
        def __init__(self):
            self.logs = {}

        def suggest_float(self, name, low, high, log):
            self.logs[name] = log
            return low

        suggest_int = suggest_float

    trial = Noting()
    names = {"a": {"log": [0.1, 1.0]}, "b": {"log": [1, 9]}}
    names |= {"c": {"uniform": [0.1, 1.0]}, "d": {"uniform": [1, 9]}}
    suggest(trial, names)
    assert trial.logs == {"a": True, "b": True, "c": False, "d": False}


def test_rounding_stays_within_the_bounds():
    low = 1.2354e-3
    trial = optuna.trial.FixedTrial({"rate": low})
    assert suggest(trial, {"rate": {"log": [low, 1.0]}}) == {"rate": 1.24e-3}
    low = 1.2344e-3  # 1.23e-3 would be below
    trial = optuna.trial.FixedTrial({"rate": low})
    assert suggest(trial, {"rate": {"log": [low, 1.0]}}) == {"rate": low}


def test_what_is_fixed_is_not_suggested():
    space = {"gamma": {"choices": [0.9]}, "tau": {"uniform": [0.0, 1.0]}}
    trial = optuna.trial.FixedTrial({"gamma": 0.9})
    assert suggest(trial, space, fixed={"tau": 0.5}) == {"gamma": 0.9}


@pytest.mark.parametrize(
    ("fixed", "batch_size"),
    [
        ({"num_envs": 2}, 64),  # 2 x 32 steps
        ({"num_envs": 16}, 256),
        ({"num_envs": 2, "rollout_length": 8}, 16),
        ({}, 32),  # one environment, since nothing says otherwise
    ],
)
def test_minibatches_fit_into_the_rollout(fixed, batch_size):
    space = {"rollout_length": {"choices": [32]}, "batch_size": {"choices": [256]}}
    trial = optuna.trial.FixedTrial({"rollout_length": 32, "batch_size": 256})
    assert suggest(trial, space, fixed)["batch_size"] == batch_size


@pytest.mark.parametrize(
    "where",
    [
        {"between": [0.1, 0.2]},
        {"log": [0.0, 1.0]},
        {"log": [1.0]},
        {"uniform": [1.0, 1.0]},
        {"uniform": [0.0, float("inf")]},
        {"uniform": ["a", "b"]},
        {"choices": []},
        {"choices": 3},
        {"log": [0.1, 1.0], "choices": [1]},
        [0.1, 0.2],
        0.5,
    ],
)
def test_a_space_of_another_form(where):
    with pytest.raises(ValueError, match=r"Expected a search space .*Received: gamma="):
        check_space({"gamma": where})
