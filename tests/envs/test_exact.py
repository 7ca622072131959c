"""Tests of `kerasrl2.envs.exact`."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.envs import GymnasiumEnvironment, make
from tests.envs.worlds import Chain5, Endless1

GAMMA, SEED = 0.9, tf.constant([0, 0])


def chain_table(env):
    """`(next state, reward, terminated)` `[4, 2]` of all state-action pairs."""
    state = env.initial(SEED, 8) * 0 + np.repeat(np.arange(4, dtype=np.int32), 2)
    following, reward, terminated = env.transition(state, tf.constant([0, 1] * 4))
    return [np.reshape(x, [4, 2]) for x in (following, reward, terminated)]


def test_chain_has_the_action_values_it_is_used_for(compiled):
    following, reward, terminated = chain_table(make("Chain-5", num_envs=8))
    q_values = np.zeros([5, 2])
    for _ in range(50):
        discount = GAMMA * (1 - terminated)
        q_values[:4] = reward + discount * q_values.max(1)[following]
    right = [0.729, 0.81, 0.9, 1.0]
    left = [0.6561, 0.6561, 0.729, 0.81]
    np.testing.assert_allclose(q_values[:4], np.transpose([left, right]), atol=1e-9)


def test_endless_tells_truncation_from_termination():
    env = make("Endless-1", num_envs=3)
    state, observation = env.reset(SEED)
    np.testing.assert_array_equal(observation, np.ones([3, 1]))
    ends = []
    for t in range(1, 31):
        state, time_step = env.step(state, tf.constant([0, 1, 0]), SEED)
        np.testing.assert_array_equal(time_step.next_observation, np.ones([3, 1]))
        np.testing.assert_array_equal(time_step.reward, np.ones(3))
        assert not time_step.terminated.numpy().any()
        if time_step.truncated.numpy().all():
            ends.append(t)
    assert ends == [10, 20, 30]


def test_endless_takes_continuous_actions():
    env = make("Endless-1", continuous=True)
    state, _ = env.reset(SEED)
    _, time_step = env.step(state, tf.constant([[0.3]]), SEED)
    assert float(time_step.reward[0]) == 1.0


@pytest.mark.long
@pytest.mark.parametrize(
    ("id", "world", "limit"), [("Chain-5", Chain5, 50), ("Endless-1", Endless1, 10)]
)
def test_agrees_with_the_gymnasium_version(id, world, limit):
    limited = lambda: gymnasium.wrappers.TimeLimit(world(), limit)  # noqa: E731
    envs = make(id, num_envs=4), GymnasiumEnvironment(limited, 4)
    assert envs[0].observation_space == envs[1].observation_space
    (a, first), (b, second) = (env.reset(SEED) for env in envs)
    np.testing.assert_array_equal(first, second)
    rng = np.random.default_rng(0)
    steps = [tf.function(env.step) for env in envs]
    ended = 0
    for _ in range(300):
        # Two rows wander, two go left: the latter meet the time limit.
        action = tf.constant((rng.integers(2, size=4) * [1, 1, 0, 0]).astype(np.int32))
        (a, ours), (b, theirs) = steps[0](a, action, SEED), steps[1](b, action, SEED)
        for x, y in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(x, y)
            assert x.dtype == y.dtype
        ended += int(tf.reduce_sum(tf.cast(ours.truncated, tf.int32)))
    assert ended >= 2 * (300 // limit)


def test_chain_starts_uniformly_on_request(compiled):
    assert make("Chain-5", num_envs=9).initial(SEED, 9).numpy().tolist() == [0] * 9
    env = make("Chain-5", num_envs=4000, uniform_start=True)
    state, observation = compiled(env.reset)(SEED)
    np.testing.assert_array_equal(state.physics, env.initial(SEED, 4000))
    counts = np.sum(observation, axis=0)
    np.testing.assert_allclose(counts[:4], 1000, atol=120)
    assert counts[4] == 0
