"""Tests of `kerasrl2.losses.munchausen`."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, logsumexp

from kerasrl2.losses import (
    munchausen_reward,
    munchausen_td_error,
    scaled_log_policy,
    soft_value,
)


@pytest.mark.parametrize(
    ("q_values", "temperature", "log_policy", "value"),
    [
        ([0.0, 0.0], 1.0, [-0.693147, -0.693147], 0.693147),  # tau ln 2
        ([0.0, 0.0], 0.5, [-0.346574, -0.346574], 0.346574),
        ([0.0, 1.098612], 1.0, [-1.386294, -0.287682], 1.386294),  # p = 1/4, 3/4
        ([5.0, 8.0], 0.03, [-3.0, 0.0], 8.0),  # e^-100 underflows, tau ln pi does not
        ([1e4, -1e4, 0.0], 0.03, [0.0, -2e4, -1e4], 1e4),
        ([-3e4, -3e4], 0.03, [-0.020794, -0.020794], -3e4 + 0.020794),
    ],
)
def test_policy_and_value_by_hand(compiled, q_values, temperature, log_policy, value):
    q_values = tf.constant([[q_values]])
    actual = compiled(lambda q: scaled_log_policy(q, temperature))(q_values)
    np.testing.assert_allclose(actual, [[log_policy]], rtol=1e-5, atol=1e-5)
    actual = compiled(lambda q: soft_value(q, temperature))(q_values)
    np.testing.assert_allclose(actual, [[value]], rtol=1e-5)


def test_against_scipy():
    q, tau = np.random.default_rng(0).normal(size=[50, 4]), 0.3
    np.testing.assert_allclose(scaled_log_policy(q, tau), tau * log_softmax(q / tau, 1))
    np.testing.assert_allclose(soft_value(q, tau), tau * logsumexp(q / tau, axis=1))
    policy = np.exp(scaled_log_policy(q, tau) / tau)
    np.testing.assert_allclose(policy.sum(axis=1), 1.0)
    entropy_form = np.sum(policy * (q - scaled_log_policy(q, tau)), axis=1)
    np.testing.assert_allclose(soft_value(q, tau), entropy_form)


@pytest.mark.parametrize(
    ("action", "scale", "clip", "bonus"),
    [  # tau ln pi = -3, 0 at tau = 0.03
        (0, 0.9, -1.0, -0.9),
        (0, 0.9, -5.0, -2.7),
        (0, 0.5, -1.0, -0.5),
        (1, 0.9, -1.0, 0.0),
        (0, 0.9, 0.0, 0.0),
        (0, 0.0, -1.0, 0.0),
    ],
)
def test_reward_by_hand(compiled, action, scale, clip, bonus):
    q_values = tf.constant([[5.0, 8.0]])
    function = compiled(lambda q, a: munchausen_reward(q, a, 0.03, scale, clip))
    result = function(q_values, tf.constant([action]))
    np.testing.assert_allclose(result, [bonus], rtol=1e-5, atol=1e-6)


def test_defaults_are_the_papers():
    q, action = tf.constant([[0.0, 0.03]]), tf.constant([0])
    wanted = munchausen_reward(q, action, temperature=0.03, scale=0.9, clip=-1.0)
    np.testing.assert_array_equal(munchausen_reward(q, action), wanted)
    np.testing.assert_allclose(wanted, [-0.9 * 0.03 * np.log1p(np.e)], rtol=1e-5)


def test_error_by_hand_and_who_gets_a_gradient(compiled):
    """r + alpha tau ln pi(a|s) + gamma tau ln sum exp(q'/tau) - q: with tau = 1,

    pi(0|s) = 1/4 gives -0.9 * clip(1.386294, 1), the next value is 2 + ln 2.
    """
    q = tf.constant([[1.0, 7.0]])
    target, following = tf.constant([[0.0, 1.098612]]), tf.constant([[2.0, 2.0]])
    action, reward, discount = tf.constant([0]), tf.constant([3.0]), tf.constant([0.5])
    with tf.GradientTape() as tape:
        inputs = [q, reward, discount, target, following]
        tape.watch(inputs)
        error = compiled(
            lambda q, r, d, t, f: munchausen_td_error(q, action, r, d, t, f, 1.0)
        )(*inputs)
    np.testing.assert_allclose(
        error, [3.0 - 0.9 + 0.5 * (2.0 + np.log(2.0)) - 1.0], rtol=1e-6
    )
    slopes = tape.gradient(error, inputs, unconnected_gradients="zero")
    np.testing.assert_array_equal(slopes[0], [[-1.0, 0.0]])
    for slope in slopes[1:]:
        assert not np.any(slope.numpy())


def test_rewards_get_no_gradient():
    q = tf.constant([[0.0, 0.01]])
    with tf.GradientTape() as tape:
        tape.watch(q)
        bonus = munchausen_reward(q, [0])
    assert tape.gradient(bonus, q) is None


def test_terminal_states_have_no_value():
    zero, one = tf.zeros([1, 2]), tf.ones([1])
    error = munchausen_td_error(zero, [0], one, 0.0 * one, zero, zero + 9.0, scale=0.0)
    np.testing.assert_allclose(error, [1.0])


def test_small_temperature_is_q_learning():
    rng = np.random.default_rng(1)
    q, target, following = rng.normal(size=[3, 20, 4])
    action, reward = rng.integers(0, 4, 20), rng.normal(size=20)
    error = munchausen_td_error(
        q, action, reward, 0.9 * np.ones(20), target, following, 1e-4, scale=0.0
    )
    wanted = reward + 0.9 * following.max(axis=1) - q[np.arange(20), action]
    np.testing.assert_allclose(error, wanted, atol=1e-3)


def test_bad_input():
    q, one = tf.zeros([2, 3]), tf.ones([2])
    for function in (scaled_log_policy, soft_value):
        with pytest.raises(ValueError, match="`temperature`"):
            function(q, temperature=0.0)
    with pytest.raises(ValueError, match="`scale`"):
        munchausen_reward(q, [0, 1], scale=1.5)
    with pytest.raises(ValueError, match="`clip`"):
        munchausen_reward(q, [0, 1], clip=0.5)
    with pytest.raises(ValueError, match=r"\[\.\.\., A\]"):
        munchausen_reward(q, [[0], [1]])
    with pytest.raises(ValueError, match="one shape"):
        munchausen_td_error(q, [0, 1], one, one, q, tf.zeros([2, 2]))
    with pytest.raises(ValueError, match="one shape"):
        munchausen_td_error(q, [0, 1], one[:, None], one[:, None], q, q)
