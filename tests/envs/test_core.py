"""Tests of `kerasrl2.envs.core`."""

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs import TensorFlowEnvironment, make
from kerasrl2.envs.core import Environment, EpisodeState
from kerasrl2.envs.exact import Endless
from kerasrl2.errors import EnvironmentFailure

SEED = tf.constant([0, 1])


class Counter(TensorFlowEnvironment):
    """Counts up by the action from 0 and terminates at 3; observes (count, 2 count).

    Its state is a nest of tensors of different rank.
    """

    def __init__(self, num_envs, max_episode_steps=None):
        box, discrete = spaces.Box(0.0, 9.0, [2]), spaces.Discrete(2)
        super().__init__("Counter", num_envs, box, discrete, max_episode_steps)

    def initial(self, seed, n):
        return {"count": tf.zeros([n], tf.int32), "twice": tf.zeros([n, 1])}

    def transition(self, physics, action):
        count = physics["count"] + action
        physics = {"count": count, "twice": 2.0 * tf.cast(count, tf.float32)[:, None]}
        return physics, 10.0 * tf.cast(count, tf.float32), count >= 3

    def observe(self, physics):
        count = tf.cast(physics["count"], tf.float32)[:, None]
        return tf.concat([count, physics["twice"]], axis=1)


def play(env, actions, compiled=lambda function: function):
    """Time steps for `actions` `[T, N]`, stacked."""
    step = compiled(env.step)
    state, _ = env.reset(SEED)
    time_steps = []
    for action in actions:
        state, time_step = step(state, tf.constant(action), SEED)
        time_steps.append(time_step)
    return tf.nest.map_structure(lambda *values: np.stack(values), *time_steps)


def test_terminates_truncates_and_restarts_in_the_same_step(compiled):
    # Environment 0 goes up each step, 1 every second step, 2 never. Time limit 4.
    actions = [[1, t % 2, 0] for t in range(1, 7)]
    result = play(Counter(3, max_episode_steps=4), actions, compiled)
    true = [[1, 1, 0], [2, 1, 0], [3, 2, 0], [1, 2, 0], [2, 1, 0], [3, 1, 0]]
    shown = [[1, 1, 0], [2, 1, 0], [0, 2, 0], [1, 0, 0], [2, 1, 0], [0, 1, 0]]
    terminated = [[0] * 3, [0] * 3, [1, 0, 0], [0] * 3, [0] * 3, [1, 0, 0]]
    truncated = [[0] * 3, [0] * 3, [0] * 3, [0, 1, 1], [0] * 3, [0] * 3]
    factor = np.array([1.0, 2.0])
    expected = np.array(true)[..., None] * factor
    np.testing.assert_array_equal(result.next_observation, expected)
    expected = np.array(shown)[..., None] * factor
    np.testing.assert_array_equal(result.observation, expected)
    np.testing.assert_array_equal(result.reward, 10.0 * np.array(true))
    np.testing.assert_array_equal(result.terminated, np.array(terminated, bool))
    np.testing.assert_array_equal(result.truncated, np.array(truncated, bool))
    assert result.valid.all()
    assert result.valid.shape == (6, 3)


def test_both_flags_when_the_end_meets_the_limit():
    result = play(Counter(1, max_episode_steps=3), [[1]] * 3)
    assert result.terminated[-1]
    assert result.truncated[-1]
    assert not result.truncated[:-1].any()


def test_no_limit_means_no_truncation():
    assert not play(Counter(1), [[0]] * 20).truncated.any()


def test_state_is_carried_through_a_loop_without_changing_its_structure():
    env = Counter(2, max_episode_steps=4)

    @tf.function(jit_compile=True)
    def loop(seed):
        state, _ = env.reset(seed)
        for _ in tf.range(6):
            state, _ = env.step(state, tf.ones([2], tf.int32), seed)
        return state

    state = loop(SEED)
    assert isinstance(state, EpisodeState)
    np.testing.assert_array_equal(state.elapsed, [0, 0])
    np.testing.assert_array_equal(state.physics["count"], [0, 0])


def test_an_old_state_gives_the_old_future():
    env = make("CartPole-v1", num_envs=4)
    state, _ = env.reset(SEED)
    action = tf.constant([0, 1, 0, 1])
    _, first = env.step(state, action, SEED)
    _, second = env.step(state, action, SEED)
    np.testing.assert_array_equal(first.observation, second.observation)


@pytest.mark.parametrize(
    ("env", "action", "message"),
    [
        (Endless(2), [[1], [0]], r"integer actions of shape \(2,\) .* \(2, 1\)"),
        (Endless(2), [1, 0, 1], r"shape \(3,\)"),
        (Endless(2), [0.5, 1.0], "dtype float32"),
        (Endless(2, continuous=True), [0.5, 1.0], r"float actions of shape \(2, 1\)"),
        (Endless(2, continuous=True), [[1], [1]], "dtype int32"),
    ],
)
def test_rejects_actions_of_the_wrong_shape_or_kind(env, action, message):
    state, _ = env.reset(SEED)
    with pytest.raises(ValueError, match=message):
        env.step(state, tf.constant(action), SEED)


@pytest.mark.parametrize("keywords", [{"num_envs": 0}, {"max_episode_steps": 0}])
def test_rejects_counts_below_one(keywords):
    with pytest.raises(ValueError, match=r">= 1"):
        Endless(**keywords)


def test_errors_raises_the_stored_failure_with_its_cause():
    env = Environment("x", 1, None, None)
    cause = ZeroDivisionError("original")
    failure = EnvironmentFailure("told")
    failure.__cause__ = cause

    def call():
        env.failure = failure
        raise tf.errors.UnknownError(None, None, "hidden")

    with pytest.raises(EnvironmentFailure, match="told") as caught, env.errors():
        call()
    assert caught.value.__cause__ is cause
    assert env.failure is None


def test_errors_leaves_other_exceptions_and_forgets_old_failures():
    env = Environment("x", 1, None, None)
    env.failure = EnvironmentFailure("of an earlier run")
    with pytest.raises(ZeroDivisionError), env.errors():
        raise ZeroDivisionError
    with env.errors():
        pass
