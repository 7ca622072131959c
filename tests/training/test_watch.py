"""Numbers that a float32 cannot hold, or that nothing can be learned from."""

import types
import warnings

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.agents import A2C, DQN
from kerasrl2.errors import NonFiniteError
from kerasrl2.training.finite import Guard
from kerasrl2.training.watch import NumberWatch
from kerasrl2.types import Rollout

SETTINGS = {"hidden": (), "seed": 0, "xla": False}
BOX = spaces.Box(-1.0, 1.0, [2])


def watch(space, guard=None):
    env = types.SimpleNamespace(id="World", observation_space=space)
    return NumberWatch(env, guard or Guard(), steps=5)


def warned(space, *observations):
    """Messages about batches of observations."""
    looking = watch(space)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for observation in observations:
            looking.look(tf.constant(observation))
    return [str(one.message) for one in caught]


UNFIT = {
    "int64 near 2^62": (
        spaces.Box(0, 2**62, [2], np.int64),
        np.array([[1, 2], [3, 2**62 - 5]]),
        "4,611,686,018,427,387,899 in entry [1] of an observation of environment 1 of "
        "'World'. A float32 holds integers up to 16,777,216",
    ),
    "just beyond": (
        spaces.Box(-(2**30), 2**30, [1], np.int32),
        np.array([[-(2**24) - 1]], np.int32),
        "-16,777,217 in entry [0] of an observation of environment 0",
    ),
    "huge": (
        spaces.Box(-np.inf, np.inf, [2, 2]),
        np.array([[[0, 0], [1e20, 0]]], np.float32),
        "in entry [1, 0] of an observation of environment 0 of 'World'. Squares of",
    ),
    "outside": (
        BOX,
        np.array([[0, 0], [3.5, 0]], np.float32),
        "3.5, far outside of -1 to 1, in entry [0] of an observation of environment 1",
    ),
    "outside of a picture of 0 and 1": (
        spaces.Box(0, 1, [1, 2], np.uint8),
        np.array([[[0, 255]]], np.uint8),
        "255, far outside of 0 to 1, in entry [0, 1]",
    ),
    "no axes": (
        spaces.Box(-1.0, 1.0, []),
        np.array([0.0, 9.0], np.float32),
        "9.0, far outside of -1 to 1, in the value of an observation of environment 1",
    ),
}


@pytest.mark.parametrize(("space", "values", "message"), UNFIT.values(), ids=UNFIT)
def test_names_environment_entry_and_value(space, values, message):
    (told,) = warned(space, values, values)  # once
    assert message in told


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (spaces.Box(0, 2**62, [1], np.int64), np.array([[2**24]])),
        (BOX, np.array([[2.9, -2.9]], np.float32)),  # a little outside
        (spaces.Box(-np.inf, np.inf, [1]), np.array([[1e14]], np.float32)),
        (spaces.Box(0.0, np.inf, [1]), np.array([[-5.0]], np.float32)),
        (BOX, np.array([[np.nan, np.inf]], np.float32)),  # that is another error
        (spaces.Box(0, 255, [1], np.uint8), np.array([[255]], np.uint8)),
        (spaces.Discrete(2**30), np.array([2**29], np.int32)),
    ],
)
def test_what_can_be_learned_from(space, values):
    assert warned(space, values) == []


def rollout(reward, valid=None):
    reward = tf.constant(reward, tf.float32)
    valid = tf.ones_like(reward, tf.bool) if valid is None else tf.constant(valid)
    return Rollout(None, None, reward, None, None, valid)


def test_the_guard_remembers_the_largest_reward(compiled):
    guard = Guard()
    assert guard.largest(2) == (0.0, 1, -1)
    note = compiled(guard.note_rewards)
    nan, inf = np.nan, np.inf
    for iteration, reward, valid, expected in [
        (0, [[1.0, 2.0], [3.0, -4.0]], [[True] * 2] * 2, (-4.0, 2, 1)),
        (1, [[3.0, 2.0], [nan, inf]], [[True] * 2] * 2, (-4.0, 2, 1)),
        (2, [[0.0, 9.0], [7.0, 0.0]], [[True, False], [True] * 2], (7.0, 6, 0)),
    ]:
        note(rollout(reward, valid), tf.constant(iteration, tf.int64))
        assert guard.largest(2) == expected
    guard.forget_rewards()
    assert guard.largest(2) == (0.0, 1, -1)


class Pays(gymnasium.Env):
    """Pays `reward` in step `at` of all, else 0; episodes of four steps."""

    observation_space, action_space = BOX, spaces.Discrete(2)

    def __init__(self, reward=1e30, at=12):
        self.reward, self.at, self.clock = reward, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.clock += 1
        reward = self.reward if self.clock == self.at else 0.0
        return np.ones(2, np.float32), reward, self.clock % 4 == 0, False, {}


def test_fit_warns_of_a_reward_and_the_failed_loss_names_it():
    made = iter([Pays(at=-1), Pays(at=12)])
    agent = A2C.for_env(Pays, num_envs=2, rollout_length=5, **SETTINGS)
    with pytest.raises(NonFiniteError, match="loss") as error:
        agent.fit(lambda: next(made), steps=50, epochs=5, verbose=0)
    assert (
        "The largest reward so far was 1e+30, from environment 1 at its step 12: scale"
        in str(error.value)
    )


def test_fit_warns_once_where_the_loss_survives():
    agent = DQN.for_env(Pays(), buffer_size=99, learning_starts=4, **SETTINGS)
    with pytest.warns(UserWarning, match="a reward of 1e.30 from environ") as caught:
        agent.fit(Pays(), steps=30, epochs=5, verbose=0)
    assert len(caught) == 1
    assert "environment 0 of 'Pays' at its step 12" in str(caught[0].message)


def test_a_failed_loss_does_not_blame_a_small_reward():
    guard = Guard()
    guard.note_rewards(rollout([[5.0]]), tf.constant(0, tf.int64))
    guard.report_step(tf.constant(np.nan), tf.constant(1.0), 0)
    env = types.SimpleNamespace(id="World", num_envs=1)
    with pytest.raises(NonFiniteError) as error:
        guard.raise_if_found(env, 1, 1, ["optimizer"])
    assert "largest reward" not in str(error.value)


def test_fit_looks_at_the_first_observation_already():
    class Far(Pays):
        def reset(self, *, seed=None, options=None):
            return np.full(2, 40.0, np.float32), {}

    agent = A2C.for_env(Far(0.0), num_envs=1, rollout_length=5, **SETTINGS)
    with pytest.warns(UserWarning, match=r"40.0, far outside of -1 to 1") as caught:
        agent.fit(Far(0.0), steps=20, epochs=4, verbose=0)
    assert len(caught) == 1
