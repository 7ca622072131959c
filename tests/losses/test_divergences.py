"""Tests of `kerasrl2.losses.divergences`."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from kerasrl2.losses import gaussian_kl


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [  # systems.md 000-19
        ((0.0, 1.0), (1.0, 2.0), 0.443147),  # log 2 + 2 / 8 - 1/2
        ((1.0, 2.0), (0.0, 1.0), 1.306853),  # -log 2 + 5 / 2 - 1/2
        ((3.0, 0.5), (3.0, 0.5), 0.0),
    ],
)
def test_by_hand(compiled, first, second, expected):
    arguments = [tf.constant([x]) for x in (*first, *second)]
    kl = compiled(gaussian_kl)(*arguments)
    assert kl.shape == (1,)
    assert float(kl[0]) == pytest.approx(expected, abs=1e-6)


def test_against_an_integral():
    rng = np.random.default_rng(0)
    mean, other_mean = rng.normal(size=(2, 6))
    std, other_std = rng.uniform(0.3, 3.0, size=(2, 6))
    kl = gaussian_kl(mean, std, other_mean, other_std)
    assert kl.dtype == tf.float64
    for i in range(6):
        p = stats.norm(mean[i], std[i])
        q = stats.norm(other_mean[i], other_std[i])
        bounds = mean[i] - 12 * std[i], mean[i] + 12 * std[i]
        expected, _ = integrate.quad(
            lambda x, p=p, q=q: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), *bounds
        )
        assert float(kl[i]) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_slopes_by_hand():
    """m_1 - m_2 over s_2^2, and s_1 / s_2^2 - 1 / s_1; the others mirror them."""
    arguments = [tf.Variable([x]) for x in (0.0, 1.0, 1.0, 2.0)]
    with tf.GradientTape() as tape:
        kl = gaussian_kl(*arguments)
    slopes = [float(g[0]) for g in tape.gradient(kl, arguments)]
    # d/ds_2: 1 / s_2 - (s_1^2 + (m_1 - m_2)^2) / s_2^3 = 1/2 - 2/8.
    np.testing.assert_allclose(slopes, [-0.25, -0.75, 0.25, 0.25], rtol=1e-6)


def test_sizes_that_differ():
    with pytest.raises(ValueError, match="std"):
        gaussian_kl(tf.zeros([2]), tf.ones([1]), tf.zeros([2]), tf.ones([2]))
