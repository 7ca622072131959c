"""Evaluations in environments that never end."""

import os
import re
import signal

import gymnasium
import keras
import numpy as np
import pytest

from kerasrl2 import callbacks, envs
from kerasrl2.agents import A2C
from kerasrl2.training import evaluate
from tests.envs.worlds import Endless1
from tests.training.runs import make, state_of, train

SETTINGS = {"hidden": (), "seed": 0, "xla": False}


@pytest.fixture(scope="module")
def agent():
    return A2C.for_env("Endless-1", num_envs=2, rollout_length=5, **SETTINGS)


def endless():
    return envs.make("Endless-1", max_episode_steps=None)


def test_there_is_a_limit_by_default(agent, monkeypatch):
    monkeypatch.setattr(evaluate, "MAX_EPISODE_STEPS", 300)
    env = endless()
    with pytest.raises(ValueError, match="at most 300 steps") as error:
        agent.evaluate(env, episodes=1)
    for advice in ("larger `max_episode_steps`", "None for no limit", "TimeLimit"):
        assert advice in str(error.value)
    with pytest.raises(ValueError, match="at most 300 steps"):
        agent.fit("Endless-1", 10, epochs=1, validation_env=env, verbose=0)
    callback = callbacks.EvaluateReturn(env, episodes=1)
    with pytest.raises(ValueError, match="at most 300 steps"):
        agent.fit("Endless-1", 10, epochs=1, callbacks=[callback], verbose=0)


@pytest.mark.parametrize(
    "env",
    [
        lambda: envs.make("Endless-1", max_episode_steps=700),
        lambda: gymnasium.wrappers.TimeLimit(Endless1(), 700),
    ],
    ids=["TensorFlow", "Gymnasium"],
)
def test_a_longer_limit_of_its_own_counts(agent, monkeypatch, env):
    monkeypatch.setattr(evaluate, "MAX_EPISODE_STEPS", 300)
    assert agent.evaluate(env(), episodes=1)["episode_length"] == 700.0


def test_none_is_no_limit(agent, monkeypatch):
    monkeypatch.setattr(evaluate, "MAX_EPISODE_STEPS", 300)
    env = gymnasium.wrappers.TransformReward(
        gymnasium.wrappers.TimeLimit(Endless1(), 700), float
    )
    scores = agent.evaluate(env, episodes=1, max_episode_steps=None)
    assert scores["episode_length"] == 700.0


@pytest.mark.parametrize("limit", [0, -1, 2.5, "none"])
def test_what_is_no_limit_is_refused(agent, limit):
    with pytest.raises(ValueError, match="`max_episode_steps` to be an integer >= 1"):
        agent.evaluate("Endless-1", episodes=1, max_episode_steps=limit)


def test_a_line_when_nothing_has_ended_for_long(agent, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "SILENT_SECONDS", 0.0)
    with pytest.raises(ValueError, match="at most 600"):
        agent.evaluate(endless(), episodes=2, max_episode_steps=600)
    told = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        "evaluation of Endless-1: no episode has ended for [0-9]+ s, the longest has "
        "256 steps; at 600 steps it is an error",
        told[0],
    )
    monkeypatch.undo()
    agent.evaluate("Endless-1", episodes=2)
    assert capsys.readouterr().err == ""


def test_the_line_comes_each_time_after_twice_as_long(monkeypatch):
    now, told = [100.0], []
    monkeypatch.setattr(evaluate.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(evaluate, "tell_of_no_end", lambda *args: told.append(args))
    patience = evaluate._Patience("env", 9)
    ended, heard = np.zeros(2, np.int32), []
    for _ in range(200):
        now[0] += 1.0
        patience.look(ended, 5)
        heard.append(len(told))
    assert [seconds for *_, seconds, _ in told] == [20.0, 40.0, 80.0, 160.0]
    patience.look(ended + 1, 5)  # one has ended: it begins anew
    now[0] += 19.0
    patience.look(ended + 1, 5)
    assert len(told) == 4
    now[0] += 1.0
    patience.look(ended + 1, 5)
    assert len(told) == 5


def test_more_episodes_than_fit_into_memory_are_refused(agent):
    with pytest.raises(ValueError, match="`episodes` that fits into memory"):
        agent.evaluate("Endless-1", episodes=10**13)


class Interrupting(Endless1):
    """Sends a signal in its step `at`, then goes on without an end."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, [4])

    def __init__(self, number, at=3):
        self.number, self.at, self.clock = number, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action):
        self.clock += 1
        if self.clock == self.at:
            os.kill(os.getpid(), self.number)
        # Others end at once, so that epochs before the signal pass.
        return np.zeros(4, np.float32), 1.0, self.clock < self.at, False, {}


def in_validation(env):
    return {"validation_env": env, "validation_episodes": 1}


def in_a_callback(env):
    return {"callbacks": [callbacks.EvaluateReturn(env, episodes=1)]}


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "error", "where"),
    [
        (signal.SIGTERM, SystemExit, in_validation),
        pytest.param(
            signal.SIGINT, KeyboardInterrupt, in_a_callback, marks=pytest.mark.long
        ),
    ],
)
def test_a_signal_ends_an_evaluation_within_fit(number, error, where, tmp_path):
    """A checkpoint is written first, and the run goes on from it to the same bits."""
    agent = make("a2c", "CartPole-v1", xla=False)
    stopping = gymnasium.wrappers.OrderEnforcing(Interrupting(number))
    with pytest.raises(error):
        train(agent, "CartPole-v1", 80, tmp_path, **where(stopping))
    assert int(agent.env_steps) == 60  # in the third of four epochs
    steps = [path.name for path in tmp_path.iterdir()]
    assert f"checkpoint-{60:012d}" in steps
    ends = gymnasium.wrappers.TimeLimit(Interrupting(number, at=-1), 1)
    whole = make("a2c", "CartPole-v1", xla=False)
    history = train(whole, "CartPole-v1", 80, **where(ends))
    resumed = make("a2c", "CartPole-v1", xla=False)
    again = train(resumed, "CartPole-v1", 80, tmp_path, **where(ends))
    np.testing.assert_equal(again, history)
    for a, b in zip(state_of(whole).values(), state_of(resumed).values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_signal_in_the_last_validation_is_not_lost(tmp_path):
    agent = make("a2c", "CartPole-v1", xla=False)
    stopping = Interrupting(signal.SIGTERM, at=4)
    with pytest.raises(SystemExit):
        train(agent, "CartPole-v1", 80, tmp_path, **in_validation(stopping))
    assert int(agent.env_steps) == 80
    resumed = make("a2c", "CartPole-v1", xla=False)
    seen = []
    listen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["env_steps"]))
    )
    history = train(resumed, "CartPole-v1", 80, tmp_path, callbacks=[listen])
    assert seen == [(3, 80)]
    assert history["env_steps"] == [20, 40, 60, 80]
