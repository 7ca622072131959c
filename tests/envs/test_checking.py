"""Tests of `kerasrl2.envs.check`: each fault is found, named and mended."""

import itertools
import re
import time
import types

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2 import envs
from kerasrl2.envs import Finding, TensorFlowEnvironment, _check_play, check

HEALTHY_IDS = ["CartPole-v1", "Pendulum-v1", "Chain-5", "GridBreakout-v0"]


class Healthy(gymnasium.Env):
    """Random observations, ends after five steps; `change` spoils what it returns."""

    observation_space = spaces.Box(0.0, 1.0, [2], np.float32)
    action_space = spaces.Discrete(2)
    change = first = staticmethod(lambda **parts: parts)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return tuple(self.first(observation=self.draw(), info={}).values())

    def step(self, action):
        self.time += 1
        end = self.time == 5
        parts = {"observation": self.draw(), "reward": 1.0, "terminated": end}
        parts |= {"truncated": False, "info": {}}
        return tuple(self.change(**parts).values())

    def draw(self):
        return self.np_random.random(2, np.float32)


def replaced(at=1, **new):
    """A `change` that puts `new` in place from call number `at` on."""
    calls = itertools.count(1)
    return lambda **parts: parts | new if next(calls) >= at else parts


def having(**attributes):
    """A class of healthy environments but for some attributes."""
    functions = types.FunctionType
    return type(
        "Spoilt",
        (Healthy,),
        {
            name: staticmethod(value)
            if name in ("change", "first") and isinstance(value, functions)
            else value
            for name, value in attributes.items()
        },
    )


def only(findings, severity):
    """The one own finding of a severity; Gymnasium's checker may agree."""
    own = [f for f in findings if not f.what.startswith("Gymnasium")]
    (finding,) = [f for f in own if f.severity == severity]
    assert finding.remedy
    assert all(f.severity != "error" for f in own if f is not finding)
    return finding


@pytest.mark.parametrize("id", HEALTHY_IDS)
def test_tensorflow_environments_are_healthy(id):
    assert check(id, steps=30) == []


def test_gymnasium_environments_are_healthy():
    assert check(Healthy, steps=30) == []
    cartpole = gymnasium.make("CartPole-v1")
    assert check(cartpole, steps=30) == []
    cartpole.step(0)  # neither closed nor at an end


def boom(**parts):
    raise ZeroDivisionError("boom")


NAN = np.array([0.0, np.nan], np.float32)
ERRORS = {
    "raises in step": ({"change": boom}, "`step` raised ZeroDivisionError: boom", "1"),
    "raises in reset": ({"first": boom}, "`reset` raised ZeroDivision", "reset"),
    "NaN": ({"change": replaced(3, observation=NAN)}, "observation holds nan", "3"),
    "infinity": (
        {"change": replaced(observation=np.float32([np.inf, 0]))}, "holds inf", "1"
    ),
    "shape": (
        {"change": replaced(observation=np.zeros(3, np.float32))},
        r"shape \(2,\) and dtype float32. Received: shape \(3,\)", "1",
    ),
    "None": ({"change": replaced(observation=None)}, "Received: shape", "1"),
    "ragged": ({"change": replaced(observation=[[1], 2])}, "does not fit", "1"),
    "4 values": (
        {"change": lambda **p: {k: v for k, v in p.items() if k != "info"}},
        "Received: a tuple of 4", "1",
    ),
    "first shape": (
        {"first": replaced(observation=np.zeros(3, np.float32))}, "shape", "reset"
    ),
    "no info": ({"first": lambda **p: {"a": 0}}, "Received: a tuple of 1", "reset"),
    "NaN reward": ({"change": replaced(7, reward=np.nan)}, "reward is nan", "7"),
    "infinite reward": ({"change": replaced(reward=-np.inf)}, "reward is -inf", "1"),
    "above float32": ({"change": replaced(reward=1e300)}, "1e.300 is infinite", "1"),
    "text reward": ({"change": replaced(reward="1")}, "number as reward", "1"),
    "list reward": ({"change": replaced(reward=[1.0])}, "number as reward", "1"),
    "integer flag": ({"change": replaced(terminated=0)}, "a Boolean as termi", "1"),
    "graph": (
        {"observation_space": spaces.Dict(a=spaces.Graph(spaces.Discrete(2), None)),
         "draw": lambda self: {"a": self.observation_space["a"].sample()}},
        "no agent knows the `observation_space` Dict", "",
    ),
    "several actions": (
        {"action_space": spaces.Tuple([spaces.Discrete(2)])},
        "no agent knows the `action_space` Tuple", "",
    ),
    "integer box": (
        {"action_space": spaces.Box(0, 3, [1], np.int32)}, "the integer `action_s", ""
    ),
}  # fmt: skip


@pytest.mark.parametrize(("attributes", "what", "where"), ERRORS.values(), ids=ERRORS)
def test_errors(attributes, what, where):
    finding = only(check(having(**attributes), steps=30), "error")
    assert re.search(what, finding.what), finding
    if where.isdigit():
        assert finding.where.startswith(f"step {where}, action ")
    else:
        assert finding.where == where


WARNINGS = {
    "huge": ({"change": replaced(2, reward=-2e6)}, "the reward -2e.06 is huge", "clip"),
    "outside": (
        {"change": replaced(observation=np.float32([0, 2]))},
        r"\[0. 2.\] is not in Box", "bounds",
    ),
    "dtype": (
        {"draw": lambda self: self.np_random.random(2)}, "dtype float64", "float32"
    ),
    "ends at once": ({"change": replaced(terminated=True)}, "first step", "termin"),
    "never ends": ({"change": replaced(terminated=False)}, "no episode", "TimeLimit"),
    "unseeded": (
        {"draw": lambda self: np.random.default_rng().random(2, np.float32)},
        "different first observations", r"super\(\)",
    ),
    "info": ({"change": replaced(info=None)}, "`info` is of type NoneType", "{}"),
    "no bounds": (
        {"action_space": spaces.Box(-np.inf, np.inf, [1])}, "no bounds", "finite"
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "what", "mend"), WARNINGS.values(), ids=WARNINGS
)
def test_warnings(attributes, what, mend):
    finding = only(check(having(**attributes), steps=30), "warning")
    search = re.search
    assert search(what, finding.what), finding
    assert search(mend, finding.remedy), finding


def test_a_time_limit_ends_episodes():
    endless = having(change=replaced(terminated=False))
    limited = lambda: gymnasium.wrappers.TimeLimit(endless(), 1_000)  # noqa: E731
    assert check(limited, steps=30) == []


def test_arrays_that_change_later():
    class Reuses(Healthy):
        def __init__(self):
            self.array = np.zeros(2, np.float32)

        def draw(self):
            self.array[:] = super().draw()
            return self.array

    finding = only(check(Reuses, steps=30), "warning")
    assert finding.what == "the observation returned at reset changes later"
    assert "copy()" in finding.remedy
    assert "training is safe" in finding.remedy


class Grows(Healthy):
    """Its space grows with the episodes; it is replaced, or changed in place."""

    in_place = False

    def __init__(self):
        self.observation_space = spaces.Box(0.0, 1.0, [2], np.float32)

    def reset(self, *, seed=None, options=None):
        if self.in_place:
            self.observation_space.high += 1.0
        else:
            high = self.observation_space.high + 1.0
            self.observation_space = spaces.Box(0.0, high, [2], np.float32)
        return super().reset(seed=seed)


@pytest.mark.parametrize("in_place", [True, False])
def test_spaces_that_change(in_place):
    cls = type("Grows", (Grows,), {"in_place": in_place})
    finding = only(check(cls, steps=30), "error")
    assert finding.what == "the spaces change while the environment runs"


def test_copies_with_different_spaces():
    sizes = itertools.count(2)

    def make():
        env = Healthy()
        env.action_space = spaces.Discrete(next(sizes))
        return env

    finding = only(check(make, steps=30), "error")
    assert finding.what.startswith("two copies have different `action_space`s")


def test_a_callable_that_returns_one_environment_twice():
    env = Healthy()
    finding = only(check(lambda: env, steps=30), "error")
    assert "the same environment twice" in finding.what


def test_a_constructor_that_raises():
    def make():
        raise ValueError("no licence")

    finding = only(check(make), "error")
    assert finding.what == "making it raised ValueError: no licence"


def test_close_that_raises():
    def close(self):
        raise OSError("no display")

    findings = check(having(close=close), steps=30)
    assert only(findings, "error").what == "`close` raised OSError: no display"


def test_chance_in_steps_that_no_seed_governs():
    class Noisy(Healthy):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, float(np.random.default_rng().random()), *rest

    finding = only(check(Noisy, steps=30), "warning")
    assert finding.what == "the same seed and actions give different steps"


def test_slow_steps_are_noted(monkeypatch):
    clock = itertools.count(0.0, 0.02)  # each look at the clock is 20 ms later
    monkeypatch.setattr(
        _check_play, "time", types.SimpleNamespace(perf_counter=lambda: next(clock))
    )
    assert time.perf_counter() != next(clock)
    finding = only(check(Healthy, steps=30), "note")
    assert finding.what == "a step takes 20 ms (median)"


def test_findings_of_gymnasiums_checker():
    class Old(Healthy):
        def seed(self, seed):
            pass

        def reset(self, *, seed=None):
            return super().reset(seed=seed)

    texts = {f.what: f for f in check(Old, steps=30)}
    assert all(text.startswith("Gymnasium's checker: ") for text in texts)
    assert any("`seed` function is dropped" in text for text in texts)
    assert any("`options`" in text for text in texts)
    assert {f.severity for f in texts.values()} == {"warning"}


def test_errors_come_first():
    change = replaced(reward=np.nan, observation=np.float32([0, 2]))
    severities = [f.severity for f in check(having(change=change), steps=30)]
    assert severities[0] == "error"
    assert severities == sorted(severities)


@pytest.mark.parametrize("steps", [0, 1.5, "10"])
def test_steps_are_checked(steps):
    with pytest.raises(ValueError, match="`steps`"):
        check(Healthy, steps=steps)


@pytest.mark.parametrize("env", ["NoSuch-v0", 3])
def test_no_environment(env):
    with pytest.raises(ValueError, match="Received"):
        check(env)


class Line(TensorFlowEnvironment):
    """Walks at random; `change` spoils `(physics, reward, terminated)`."""

    change = show = begin = staticmethod(lambda *values: values)

    def __init__(self, num_envs=3, max_episode_steps=5):
        line, moves = spaces.Box(-9.0, 9.0, [1]), spaces.Discrete(2)
        super().__init__("Line", num_envs, line, moves, max_episode_steps)

    def initial(self, seed, n):
        draws = tf.random.stateless_uniform([n, 1], seed, -1.0, 1.0, alg="philox")
        return self.begin(draws)[0]

    def transition(self, physics, action):
        physics = physics + tf.cast(action, tf.float32)[:, None]
        return self.change(physics, tf.ones([3]), tf.zeros([3], tf.bool))

    def observe(self, physics):
        return self.show(physics)[0]


IN_TENSORFLOW = {
    "raises": ({"change": lambda p, r, t: p.boom}, "error", "AttributeError"),
    "NaN": ({"show": lambda p: (p / 0.0 * 0.0,)}, "error", "holds nan"),
    "reward": ({"change": lambda p, r, t: (p, r / 0.0, t)}, "error", "reward is inf"),
    "huge": ({"change": lambda p, r, t: (p, 1e7 * r, t)}, "warning", "1e.07 is huge"),
    "column": (
        {"change": lambda p, r, t: (p, r[:, None], t)}, "error", r"shape \(3, 1\)"
    ),
    "shape": ({"show": lambda p: (p[:, 0],)}, "error", r"has shape \(3,\)"),
    "dtype": ({"show": lambda p: (tf.cast(p, tf.int32),)}, "error", "dtype int32"),
    "outside": ({"show": lambda p: (p + 10.0,)}, "warning", "is not in Box"),
    "at once": ({"change": lambda p, r, t: (p, r, ~t)}, "warning", "first step"),
    "unseeded": (
        {"begin": lambda p: (tf.random.uniform(p.shape),)}, "warning", "one seed"
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "severity", "what"), IN_TENSORFLOW.values(), ids=IN_TENSORFLOW
)
def test_environments_in_tensorflow(attributes, severity, what):
    functions = {name: staticmethod(value) for name, value in attributes.items()}
    env = type("Spoilt", (Line,), functions)()
    findings = {f.severity: f for f in reversed(check(env, steps=12))}
    assert re.search(what, findings[severity].what), findings


def test_without_an_end_in_tensorflow():
    assert check(Line(), steps=12) == []
    (finding,) = check(Line(max_episode_steps=None), steps=12)
    assert finding.what.startswith("no episode ended within 12 steps")
    assert "max_episode_steps" in finding.remedy


def test_a_bridge_that_was_made_before():
    class Raises(Healthy):
        change = staticmethod(boom)

    finding = only(check(envs.make(Raises), steps=12), "error")
    assert "boom" in finding.what
    assert finding.where == "step 1"


def test_a_finding_is_a_plain_tuple():
    assert Finding("note", "a", "b", "c") == ("note", "a", "b", "c")
