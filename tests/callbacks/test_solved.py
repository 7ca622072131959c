"""Tests of `callbacks.StopWhenSolved`, and of what callbacks are told of episodes."""

import math

import keras
import numpy as np
import pytest

from kerasrl2.agents import A2C, DQN, Reinforce
from kerasrl2.callbacks import StopWhenSolved, TrainingCheckpoint
from tests.training.runs import state_of
from tests.training.worlds import Scripted

SMALL = {"hidden": (4,), "seed": 0, "xla": False}


class Episodes(keras.callbacks.Callback):
    """Keeps what it is told."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.told, self.stop_after = [], stop_after

    def on_episode_end(self, episode, logs):
        self.told.append((episode, logs["return"], logs["episode_length"]))
        if len(self.told) == self.stop_after:
            self.model.stop_training = True


def told(callback, returns):
    for episode, value in enumerate(returns):
        callback.on_episode_end(episode, {"return": value})
    return callback.solved_at


@pytest.mark.parametrize(
    ("value", "threshold", "episodes"), [(200.0, 195.0, 72), (500.0, 475.0, 59)]
)
def test_the_running_return_lags(value, threshold, episodes):
    """systems.md 003-04: 200 (1 - 0.95^n) > 195 from n = 72 on."""
    callback = StopWhenSolved(threshold, criterion="running")
    assert told(callback, [value] * (episodes - 1))["running"] is None
    assert told(callback, [value])["running"] == episodes
    told(callback, [0.0] * 200)
    assert callback.solved_at == {"mean": None, "running": episodes}  # and stays so


def test_the_mean_of_a_hundred():
    """0, then 100 of 195: the mean of the last hundred is 195 from the 101st on."""
    callback = StopWhenSolved(195.0)
    assert told(callback, [0.0] + [195.0] * 99)["mean"] is None
    assert told(callback, [195.0])["mean"] == 101
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs["mean_return"] == 195.0
    assert logs["running_return"] == pytest.approx(195 * (1 - 0.95**100))


def test_before_there_are_enough_there_is_no_mean():
    callback = StopWhenSolved(-1e9, window=3)
    told(callback, [1.0, 2.0])
    logs = {}
    callback.on_epoch_end(0, logs)
    assert math.isnan(logs["mean_return"])
    assert callback.solved_at["mean"] is None
    assert told(callback, [3.0])["mean"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": "high"}, "threshold"),
        ({"threshold": 1.0, "criterion": "median"}, "criterion"),
        ({"threshold": 1.0, "window": 0}, "window"),
        ({"threshold": 1.0, "rate": 0.0}, "rate"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        StopWhenSolved(**arguments)


def scripted_returns(lengths):
    """A `Scripted` episode of `n` steps pays 1, 1.5, 2, ...."""
    return [sum(1 + 0.5 * t for t in range(n)) for n in lengths]


@pytest.mark.long
@pytest.mark.parametrize("rollout_length", [pytest.param(1, marks=pytest.mark.long), 4])
def test_every_episode_is_told_in_order(rollout_length):
    """One copy: lengths 3, 1, 2, 3, ...; two end in some rollouts of 4 steps."""
    agent = A2C.for_env(
        Scripted([3, 1, 2]), rollout_length=rollout_length, num_envs=1, **SMALL
    )
    callback = Episodes()
    history = agent.fit(
        Scripted([3, 1, 2]), steps=24, epochs=2, callbacks=[callback], verbose=0
    ).history
    lengths = [3, 1, 2] * 4
    expected = zip(range(12), scripted_returns(lengths), lengths, strict=True)
    assert callback.told == list(expected)
    assert sum(history["episodes"]) == 12
    assert history["env_steps"] == [12, 24]


@pytest.mark.long
def test_of_several_environments_by_time_then_by_number():
    """Copies end after 2, 3 and 2 steps, rows after an end not counted."""
    world = Scripted([2, 3, 2], 3, stride=0, next_step_reset=True, junk=9.0)
    agent = A2C.for_env(world, rollout_length=4, num_envs=3, **SMALL)
    callback = Episodes()
    agent.fit(world, steps=12, epochs=1, callbacks=[callback], verbose=0)
    lengths = [2, 2, 3] * 2 + [2, 2]  # after steps 2, 3, 5, 7 and 8
    assert [length for *_, length in callback.told] == lengths
    assert [value for _, value, _ in callback.told] == scripted_returns(lengths)


@pytest.mark.long
def test_whole_episodes_and_replay():
    """REINFORCE's iterations are episodes; DQN's are single steps."""
    callback = Episodes()
    agent = Reinforce.for_env(
        Scripted([3, 2], 2), rollout_length=5, num_envs=2, **SMALL
    )
    agent.fit(Scripted([3, 2], 2), steps=20, epochs=1, callbacks=[callback], verbose=0)
    assert [length for *_, length in callback.told] == [2, 3] * 4
    callback = Episodes()
    agent = DQN.for_env(Scripted([3, 2]), learning_starts=4, batch_size=4, **SMALL)
    agent.fit(Scripted([3, 2]), steps=20, epochs=1, callbacks=[callback], verbose=0)
    assert [length for *_, length in callback.told] == [3, 2] * 4


def train(callbacks, steps=400, **settings):
    agent = A2C.for_env("CartPole-v1", num_envs=2, **SMALL)
    fit = {"steps": steps, "epochs": 2, "verbose": 0, **settings}
    return agent, agent.fit("CartPole-v1", callbacks=callbacks, **fit).history


def assert_same(agent, other):
    ours, theirs = state_of(agent), state_of(other)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.long
def test_nothing_else_changes():
    """To the bit the run without such a callback; and its means are of these."""
    callback = Episodes()
    (agent, history), (other, plain) = train([callback]), train([])
    assert_same(agent, other)
    for name in set(plain) - {"steps_per_second"}:
        assert history[name] == plain[name], name
    returns = [value for _, value, _ in callback.told]
    assert len(returns) == sum(history["episodes"])
    mean = np.dot(history["return"], history["episodes"]) / len(returns)
    assert np.mean(returns) == pytest.approx(mean, rel=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("xla", [pytest.param(True, marks=pytest.mark.long), False])
def test_stops_once_in_the_iteration_that_solved(xla):
    def solve(callback):
        agent = A2C.for_env("CartPole-v1", num_envs=2, **{**SMALL, "xla": xla})
        fit = {"epochs": 1, "callbacks": [callback], "verbose": 0}
        agent.fit("CartPole-v1", steps=4000, **fit)
        return agent, fit

    callback = StopWhenSolved(10.0, criterion="running", window=5)
    agent, fit = solve(callback)
    first = int(agent.env_steps)
    assert 0 < first < 4000
    assert callback.solved_at["running"] in (callback.episodes, callback.episodes - 1)
    twin, _ = solve(StopWhenSolved(10.0, criterion="running", window=5))
    assert_same(agent, twin)  # where it stops does not depend on the clock
    agent.fit("CartPole-v1", steps=200, **fit)
    assert int(agent.env_steps) == first + 200
    assert agent.evaluate("CartPole-v1", episodes=2)["episodes"] == 2


@pytest.mark.long
def test_a_callback_that_asks_comes_and_goes():
    agent, _ = train([], steps=40)
    callback = Episodes()
    fit = {"epochs": 1, "verbose": 0}
    agent.fit("CartPole-v1", steps=200, callbacks=[callback], **fit)
    count = len(callback.told)
    assert count > 0
    agent.fit("CartPole-v1", steps=200, **fit)
    assert len(callback.told) == count
    whole, _ = train([], steps=440, epochs=1)
    assert_same(agent, whole)


@pytest.mark.long
def test_resumed_it_goes_on_counting(tmp_path):
    callbacks = [Episodes(), StopWhenSolved(1e9, window=10)]
    agent, history = train(callbacks)
    cut = [Episodes(stop_after=5), StopWhenSolved(1e9, window=10)]
    train([*cut, TrainingCheckpoint(tmp_path, every=10)])
    again = [Episodes(), StopWhenSolved(1e9, window=10)]
    resumed, same = train([*again, TrainingCheckpoint(tmp_path)], resume=True)
    assert_same(agent, resumed)
    assert cut[0].told + again[0].told == callbacks[0].told
    assert same["mean_return"][-1] == history["mean_return"][-1]
    assert again[1].get_state() == callbacks[1].get_state()
