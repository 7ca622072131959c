"""Tests of `kerasrl2.losses.distributional`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.losses import (
    distributional_cross_entropy,
    project_distribution,
    quantile_huber_loss,
    quantile_midpoints,
)


def test_golden_rows(compiled, golden):
    data = golden("losses")
    values = {k: np.array(v, np.float64) for k, v in data["inputs"].items()}
    discount = tf.constant(data["gamma"] * (1.0 - values["terminated"]))
    c51 = data["c51"]
    support = tf.constant(np.linspace(c51["v_min"], c51["v_max"], c51["num_atoms"]))
    projected = compiled(project_distribution)(
        support,
        tf.constant(values["next_probabilities"]),
        tf.constant(values["reward"]),
        discount,
    )
    entropy = compiled(distributional_cross_entropy)(
        projected, tf.constant(values["atom_logits"])
    )
    quantile = compiled(quantile_huber_loss)(
        tf.constant(values["quantiles"]),
        tf.constant(values["target_quantiles"]),
        quantile_midpoints(data["num_quantiles"]),
    )
    outputs = data["outputs"]
    np.testing.assert_allclose(
        projected, outputs["projected_target_probabilities"], atol=1e-12
    )
    np.testing.assert_allclose(entropy, outputs["categorical_cross_entropy"], rtol=1e-9)
    np.testing.assert_allclose(quantile, outputs["quantile_huber_loss"], rtol=1e-6)


@pytest.mark.parametrize(
    ("probabilities", "reward", "discount", "target"),
    [  # systems.md 004-13b, z = [0, 1, 2]
        ([0.0, 0.0, 1.0], 0.5, 0.5, [0.0, 0.5, 0.5]),
        ([0.0, 0.0, 1.0], 0.5, 0.0, [0.5, 0.5, 0.0]),  # terminated
        ([0.2, 0.3, 0.5], 0.25, 0.5, [0.225, 0.65, 0.125]),
        ([0.2, 0.3, 0.5], 5.0, 0.5, [0.0, 0.0, 1.0]),  # beyond the support
    ],
)
def test_projection_by_hand(probabilities, reward, discount, target):
    result = project_distribution(
        tf.constant([0.0, 1.0, 2.0]),
        tf.constant([probabilities]),
        tf.constant([reward]),
        tf.constant([discount]),
    )
    np.testing.assert_allclose(result, [target], atol=1e-6)


def test_projection_keeps_mass_and_the_mean_inside_the_support():
    rng = np.random.default_rng(0)
    probabilities = tf.constant(rng.dirichlet(np.ones(51), size=200))
    reward = tf.constant(rng.uniform(-1, 1, 200))
    discount = tf.constant(rng.uniform(0, 0.9, 200))
    support = tf.constant(np.linspace(-10, 10, 51))
    target = project_distribution(support, probabilities, reward, discount).numpy()
    np.testing.assert_allclose(target.sum(axis=1), 1.0, atol=1e-12)
    mean = reward + discount * tf.linalg.matvec(probabilities, support)
    np.testing.assert_allclose(target @ support.numpy(), mean, atol=1e-10)


def test_quantile_loss_against_loops():
    rng = np.random.default_rng(1)
    theta, target = rng.normal(size=[3, 4]), 2 * rng.normal(size=[3, 6])
    tau = rng.uniform(size=[3, 4])
    expected = np.zeros(3)
    for b in range(3):
        for i in range(4):
            for j in range(6):
                u = target[b, j] - theta[b, i]
                h = u * u / 2 if abs(u) <= 0.7 else 0.7 * (abs(u) - 0.35)
                expected[b] += abs(tau[b, i] - (u < 0)) * h / 6
    loss = quantile_huber_loss(
        tf.constant(theta), tf.constant(target), tf.constant(tau), delta=0.7
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-9)


def test_targets_get_no_gradient():
    theta, target = tf.zeros([2, 3]), tf.random.normal([2, 3], seed=1)
    with tf.GradientTape() as tape:
        tape.watch([theta, target])
        loss = quantile_huber_loss(theta, target, quantile_midpoints(3))
        loss += distributional_cross_entropy(tf.nn.softmax(target), theta)
    slopes = tape.gradient(loss, [theta, target], unconnected_gradients="zero")
    assert np.any(slopes[0].numpy())
    assert not np.any(slopes[1].numpy())


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="at least two atoms"):
        project_distribution(tf.zeros([1]), tf.ones([1, 1]), *[tf.zeros([1])] * 2)
    with pytest.raises(ValueError, match="one shape"):
        distributional_cross_entropy(tf.zeros([2, 3]), tf.zeros([2, 4]))
    with pytest.raises(ValueError, match=r"\[B, M\]"):
        quantile_huber_loss(tf.zeros([3]), tf.zeros([3]), tf.zeros([3]))
