"""Tests of `kerasrl2.losses.policy`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.losses import (
    adapted_kl_coefficient,
    approximate_kl,
    categorical_entropy,
    categorical_log_prob,
    clipped_surrogate_loss,
    kl_penalty,
    policy_gradient_loss,
    surrogate_loss,
)


def test_golden(compiled, golden):
    file = golden("losses")
    x = {name: tf.constant(np.array(v)) for name, v in file["inputs"].items()}
    names = ("log_prob", "old_log_prob", "advantage", "logits", "action", "returns")

    def everything(log_prob, old_log_prob, advantage, logits, action, returns):
        return {
            "policy_gradient_pseudo_loss": policy_gradient_loss(log_prob, advantage),
            "clipped_surrogate_loss": clipped_surrogate_loss(
                log_prob, old_log_prob, advantage, file["clip_ratio"]
            ),
            "entropy": categorical_entropy(logits),
            "cross_entropy_times_return": policy_gradient_loss(
                categorical_log_prob(logits, action), returns
            ),
        }

    with tf.GradientTape() as tape:
        tape.watch(x["log_prob"])
        result = compiled(everything)(*(x[name] for name in names))
    for name, tensor in result.items():
        np.testing.assert_allclose(tensor, file["outputs"][name], rtol=1e-9)
    slope = tape.gradient(result["clipped_surrogate_loss"], x["log_prob"])
    expected = file["outputs"]["clipped_surrogate_slope_wrt_log_prob"]
    np.testing.assert_allclose(slope, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),  # slope: d loss / d log_prob
    [  # by hand from equation (7), eps = 0.2
        (1.0, 2.0, -2.0, -2.0),  # at the old policy: the plain policy gradient
        (1.5, 1.0, -1.2, 0.0),  # gain capped at (1 + eps) A
        (0.5, 1.0, -0.5, -0.5),  # a good action made rarer is pulled back
        (1.5, -1.0, 1.5, 1.5),  # a bad action made likelier is punished in full
        (0.5, -1.0, 0.8, 0.0),  # gain capped at (1 - eps) A
    ],
)
def test_clipped_surrogate_by_hand(compiled, ratio, advantage, loss, slope):
    old_log_prob, advantage = tf.constant([-3.0]), tf.constant([advantage])
    log_prob = old_log_prob + tf.math.log([ratio])
    with tf.GradientTape() as tape:
        inputs = [log_prob, old_log_prob, advantage]
        tape.watch(inputs)
        result = compiled(clipped_surrogate_loss)(*inputs)
    slopes = tape.gradient(result, inputs, unconnected_gradients="zero")
    np.testing.assert_allclose(result, [loss], rtol=1e-5)
    np.testing.assert_allclose(slopes, [[slope], [0.0], [0.0]], atol=1e-5)


def test_clipped_surrogate_mean_by_hand():
    """Terms [1.2, 0.5, -1.5, -0.8]: the loss is minus their mean."""
    log_prob = tf.math.log([1.5, 0.5, 1.5, 0.5])
    loss = clipped_surrogate_loss(log_prob, tf.zeros(4), tf.constant([1.0, 1, -1, -1]))
    np.testing.assert_allclose(tf.reduce_mean(loss), 0.15, rtol=1e-5)


def test_is_never_below_the_unclipped_loss():
    rng = np.random.default_rng(0)
    ratio, advantage = rng.lognormal(size=1000), rng.normal(size=1000)
    loss = clipped_surrogate_loss(tf.math.log(ratio), tf.zeros_like(ratio), advantage)
    assert np.all(loss.numpy() >= -ratio * advantage - 1e-12)


def test_ratio_of_a_fresh_policy_is_exactly_one():
    log_prob = tf.constant(np.random.default_rng(0).normal(-50, 30, 100).astype("f4"))
    advantage = tf.ones(100)
    loss = clipped_surrogate_loss(log_prob, tf.identity(log_prob), advantage)
    np.testing.assert_array_equal(loss, -np.ones(100))
    np.testing.assert_array_equal(approximate_kl(log_prob, log_prob), np.zeros(100))


def test_policy_gradient_by_hand(compiled):
    """Logits [0, 0], action 0, return 2: loss 2 log 2, slopes [-1, 1]."""
    logits, advantage = tf.zeros([1, 2]), tf.constant([2.0])

    def loss(logits, advantage):
        return policy_gradient_loss(categorical_log_prob(logits, [0]), advantage)

    with tf.GradientTape() as tape:
        tape.watch([logits, advantage])
        result = compiled(loss)(logits, advantage)
    slopes = tape.gradient(result, [logits, advantage], unconnected_gradients="zero")
    np.testing.assert_allclose(result, [1.386294], atol=1e-6)
    np.testing.assert_allclose(slopes[0], [[-1.0, 1.0]])
    np.testing.assert_array_equal(slopes[1], [0.0])


def test_scores_average_to_zero():
    """`sum_a p(a) grad log p(a)` is 0: the reason why a baseline adds no bias."""
    p = tf.constant([0.75, 0.25])
    logits = tf.math.log([p, p])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(p * categorical_log_prob(logits, [0, 1]))
    np.testing.assert_allclose(
        tf.reduce_sum(tape.gradient(total, logits), 0), 0, atol=1e-7
    )


def test_entropy_by_hand(compiled):
    logits = tf.constant([[1.0, 0.0], [np.log(3.0), 0.0], [0.0, -np.inf]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        entropy = compiled(categorical_entropy)(logits)
    np.testing.assert_allclose(entropy, [0.582203, 0.562335, 0.0], atol=1e-6)
    slope = tape.gradient(entropy, logits)
    np.testing.assert_allclose(slope[1], [-0.205990, 0.205990], atol=1e-6)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize(("gap", "slope"), [(10.0, 0.999955), (20.0, 1.0)])
def test_gradient_of_an_unlikely_action_does_not_vanish(gap, slope):
    logits = tf.constant([[gap, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = categorical_log_prob(logits, [1])
    np.testing.assert_allclose(tape.gradient(log_prob, logits)[0, 1], slope, atol=1e-5)


def test_an_action_out_of_range_is_nan():
    log_prob = categorical_log_prob(tf.zeros([3, 2]), tf.constant([-1, 2, 1]))
    np.testing.assert_array_equal(np.isnan(log_prob), [True, True, False])


def test_gaussian_entropy_bonus_has_the_right_sign():
    """Weight 0.01 at N(0, 1): the loss falls by 0.014189 and by 0.01 per log std."""
    from kerasrl2.distributions import DiagonalGaussian

    parameters = tf.constant([[0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        bonus = -0.01 * DiagonalGaussian([-1.0], [1.0]).entropy(parameters)
    np.testing.assert_allclose(bonus, [-0.014189], atol=1e-6)
    np.testing.assert_allclose(tape.gradient(bonus, parameters), [[0.0, -0.01]])


def test_approximate_kl(compiled):
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.3, 0.2])
    estimate = compiled(approximate_kl)(tf.math.log(q), tf.math.log(p))
    assert np.all(estimate.numpy() >= 0.0)
    exact = np.sum(p * np.log(p / q))  # each action of the old policy p weighs p
    np.testing.assert_allclose(np.sum(p * estimate), exact, rtol=1e-6)
    log_prob = tf.constant([0.5])
    with tf.GradientTape() as tape:
        tape.watch(log_prob)
        estimate = approximate_kl(log_prob, tf.constant([0.0]))
    assert tape.gradient(estimate, log_prob) is None


@pytest.mark.parametrize(
    ("kl", "target", "penalty", "slope"),
    [(0.5, 0.0, 1.0, 2.0), (0.5, 0.2, 0.6, 2.0), (0.1, 0.2, 0.0, 0.0)],
)
def test_kl_penalty(compiled, kl, target, penalty, slope):
    kl = tf.constant([kl])
    with tf.GradientTape() as tape:
        tape.watch(kl)
        result = compiled(lambda kl: kl_penalty(kl, 2.0, target))(kl)
    np.testing.assert_allclose(result, [penalty], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(result, kl), [slope])


@pytest.mark.parametrize(
    ("kl", "factor"),
    [  # target 0.01, tolerance 0.3: from 0.007 to 0.013 nothing changes
        (0.0, 1 / 1.5), (0.0069, 1 / 1.5), (0.0071, 1.0), (0.0129, 1.0),
        (0.0131, 1.5), (9.0, 1.5), (np.inf, 1.5), (np.nan, 1.0),
    ],
)  # fmt: skip
def test_adapted_kl_coefficient(compiled, kl, factor):
    adapt = compiled(lambda beta, kl: adapted_kl_coefficient(beta, kl, 0.01, 0.3))
    found = adapt(tf.constant(2.0), tf.constant(kl, tf.float32))
    assert float(found) == pytest.approx(2.0 * factor)
    smallest = adapt(tf.constant(1e-15), tf.constant(kl, tf.float32))
    assert float(smallest) == pytest.approx(1e-15 * max(factor, 1.0))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"), [(1.5, 1.0, -1.5), (0.5, -1.0, 0.5)]
)
def test_the_surrogate_without_clipping(compiled, ratio, advantage, loss):
    old = tf.constant([-3.0])
    log_prob, advantage = old + np.log(ratio), tf.constant([advantage])
    with tf.GradientTape() as tape:
        inputs = [log_prob, old, advantage]
        tape.watch(inputs)
        result = compiled(surrogate_loss)(*inputs)
    slopes = tape.gradient(result, inputs, unconnected_gradients="zero")
    np.testing.assert_allclose(result, [loss], rtol=1e-6)
    np.testing.assert_allclose(slopes, [[loss], [0.0], [0.0]], rtol=1e-6)


def test_column_vector_is_an_error_not_a_broadcast():
    row, column = tf.zeros(4), tf.zeros([4, 1])
    with pytest.raises(ValueError, match=r"'advantage': \(4, 1\)"):
        clipped_surrogate_loss(row, row, column)
    with pytest.raises(ValueError, match=r"'advantage': \(4, 1\)"):
        policy_gradient_loss(row, column)
    with pytest.raises(ValueError, match=r"'old_log_prob': \(4, 1\)"):
        approximate_kl(row, column)
    with pytest.raises(ValueError, match=r"'action': \(4, 1\)"):
        categorical_log_prob(tf.zeros([4, 3]), column)


@pytest.mark.parametrize("clip_range", [0.0, 1.0, -0.1])
def test_clip_ratio_out_of_range(clip_range):
    with pytest.raises(ValueError, match="`clip_range` in"):
        clipped_surrogate_loss(tf.zeros(1), tf.zeros(1), tf.zeros(1), clip_range)
    with pytest.raises(ValueError, match="`target`"):
        kl_penalty(tf.zeros(1), 1.0, target=-1.0)
