"""Tests of `kerasrl2.natural_gradient`."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    SquashedGaussian,
    StateDependentGaussian,
    mask_parameters,
)
from kerasrl2.natural_gradient import (
    backtracking_line_search,
    conjugate_gradient,
    fisher_product,
    trust_region_length,
)
from tests.harness import compiled_in_long_runs

MATRIX = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
BOX = {"low": [-1.0, -2.0], "high": [1.0, 2.0]}
HEADS = [
    Categorical(3),
    MultiCategorical([2, 3]),
    Bernoulli(2),
    DiagonalGaussian(**BOX),
    SquashedGaussian(**BOX),
    Beta(**BOX),
    StateDependentGaussian(**BOX, num_features=2),
]


class TestConjugateGradient:
    def test_three_steps_for_three_eigenvalues(self, compiled):
        """By hand: the inverse of the matrix is its adjugate over 18."""
        vector = np.array([1.0, 2.0, 3.0])
        adjugate = [[5.0, -2.0, 1.0], [-2.0, 8.0, -4.0], [1.0, -4.0, 11.0]]
        matrix = tf.constant(MATRIX, tf.float32)

        def solve(vector):
            return conjugate_gradient(
                lambda v: tf.linalg.matvec(matrix, v), vector, 3, tolerance=0.0
            )

        found = compiled(solve)(tf.constant(vector, tf.float32))
        expected = np.array(adjugate) @ vector / 18.0
        np.testing.assert_allclose(found.solution, expected, atol=1e-6)
        np.testing.assert_allclose(found.residual, np.zeros(3), atol=2e-6)
        assert int(found.iterations) == 3

    def test_each_step_is_the_best_of_its_krylov_space(self):
        """The naive reference: minimise `x A x / 2 - b x` over `b, A b, ...`."""
        rng = np.random.default_rng(0)
        root = rng.normal(size=(6, 6))
        matrix, b = root @ root.T + np.eye(6), rng.normal(size=6)
        for steps in range(1, 7):
            found = conjugate_gradient(lambda v: tf.linalg.matvec(matrix, v), b, steps)
            powers = [np.linalg.matrix_power(matrix, k) @ b for k in range(steps)]
            basis = np.linalg.qr(np.stack(powers, axis=1))[0]
            best = np.linalg.solve(basis.T @ matrix @ basis, basis.T @ b)
            np.testing.assert_allclose(found.solution, basis @ best, atol=1e-8)
            residual = b - matrix @ found.solution.numpy()
            np.testing.assert_allclose(found.residual, residual, atol=1e-8)

    def test_it_ends_where_it_can(self):
        two = conjugate_gradient(lambda v: 2.0 * v, tf.constant([3.0, 4.0]), 10)
        np.testing.assert_allclose(two.solution, [1.5, 2.0])
        assert int(two.iterations) == 1
        nothing = conjugate_gradient(lambda v: 2.0 * v, tf.zeros([2]), 10)
        np.testing.assert_array_equal(nothing.solution, [0.0, 0.0])
        assert int(nothing.iterations) == 0
        loose = conjugate_gradient(
            lambda v: tf.linalg.matvec(MATRIX, v), tf.ones([3], tf.float64), 3, 0.9
        )
        assert int(loose.iterations) == 1

    @pytest.mark.parametrize("sign", [0.0, -1.0])
    def test_a_direction_that_is_not_positive_is_left_out(self, sign):
        found = conjugate_gradient(lambda v: sign * v, tf.constant([1.0, 2.0]), 5)
        np.testing.assert_array_equal(found.solution, [0.0, 0.0])
        np.testing.assert_array_equal(found.residual, [1.0, 2.0])
        assert int(found.iterations) == 1

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="`max_iterations` to be an integer >= 1"):
            conjugate_gradient(lambda v: v, tf.ones([2]), 0)
        with pytest.raises(ValueError, match="`tolerance`"):
            conjugate_gradient(lambda v: v, tf.ones([2]), 1, -1.0)


@compiled_in_long_runs
@pytest.mark.parametrize("p", [0.5, 0.9, 0.1, 0.999])
def test_the_natural_step_of_two_actions_is_one(compiled, p):
    """One logit, rewards 0 and 1: gradient and Fisher matrix are both `p (1 - p)`."""
    head = Categorical(2)

    def steps(logit):
        def parameters(logit):
            return tf.stack([tf.zeros_like(logit), logit], axis=1)

        with tf.GradientTape() as tape:
            tape.watch(logit)
            value = tf.nn.softmax(parameters(logit))[0, 1]
        gradient = tape.gradient(value, logit)
        product = fisher_product(parameters, logit, head.kl, tf.ones_like(logit))
        return gradient, conjugate_gradient(product, gradient, 1).solution

    vanilla, natural = compiled(steps)(tf.constant([np.log(p / (1 - p))]))
    np.testing.assert_allclose(vanilla, [p * (1 - p)], rtol=1e-9)  # .25 and .09
    np.testing.assert_allclose(natural, [1.0], rtol=1e-9)


def test_the_natural_step_of_a_mean_is_its_variance_times_the_other():
    """Sigma 2: the Fisher matrix of the mean is 1/4."""
    head = DiagonalGaussian([-1.0], [1.0])

    def parameters(mean):
        return tf.stack([mean, tf.math.log([2.0])], axis=1)

    product = fisher_product(parameters, tf.constant([0.7]), head.kl, tf.ones([1]))
    gradient = tf.constant([0.3])
    natural = conjugate_gradient(product, gradient, 1).solution
    np.testing.assert_allclose(natural, 4.0 * gradient, rtol=1e-6)


def tiny_policy(head, seed=0, mask=None):
    """`(policy, weights)`: three rows of two features through tanh, float64."""
    rng = np.random.default_rng(seed)
    rows = tf.constant(rng.normal(size=(3, 2)))
    sizes = [2 * 2, 2 * head.num_parameters]

    def policy(weights):
        first, second = tf.split(weights, sizes)
        hidden = tf.tanh(rows @ tf.reshape(first, [2, 2]))
        outputs = hidden @ tf.reshape(second, [2, head.num_parameters])
        return outputs if mask is None else mask_parameters(outputs, mask)

    return policy, tf.constant(rng.normal(size=sum(sizes)))


def dense(product, n, dtype="float64"):
    return np.stack([product(tf.constant(row, dtype)) for row in np.eye(n)])


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_products_are_those_of_the_second_derivatives(head):
    """The naive reference: the mean divergence differentiated weight by weight."""
    policy, weights = tiny_policy(head)
    shares = tf.constant([0.5, 0.3, 0.2], tf.float64)
    old = policy(weights)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(weights)
        with tf.GradientTape() as inner:
            inner.watch(weights)
            kl = tf.reduce_sum(shares * head.kl(old, policy(weights)))
        slope = inner.gradient(kl, weights)
    expected = dense(
        lambda row: outer.gradient(slope, weights, output_gradients=row), len(weights)
    )
    found = dense(fisher_product(policy, weights, head.kl, shares), len(weights))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    assert np.linalg.eigvalsh(found).min() > -1e-10
    damped = fisher_product(policy, weights, head.kl, shares, damping=0.1)
    expected = found + 0.1 * np.eye(len(weights))
    np.testing.assert_allclose(dense(damped, len(weights)), expected, atol=1e-12)


def score_matrix(head, policy, weights, actions, shares):
    """`sum_b w_b E[s s^T]` over all actions, `s` the slope of `log pi`."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        parameters = policy(weights)
    jacobian = tape.jacobian(parameters, weights).numpy()  # [B, P, n]
    total = np.zeros([len(weights)] * 2)
    for action in actions:
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            log_prob = head.log_prob(parameters, action)
        slopes = tape.gradient(log_prob, parameters).numpy()
        scores = np.einsum("bp,bpn->bn", slopes, jacobian)
        total += np.einsum("b,bi,bj->ij", np.exp(log_prob) * shares, scores, scores)
    return total


@pytest.mark.parametrize(
    ("head", "actions", "mask"),
    [
        (Categorical(3), range(3), None),
        (Categorical(3), range(3), [[1, 1, 1], [1, 0, 1], [0, 1, 0]]),
        (MultiCategorical([2, 3]), itertools.product(range(2), range(3)), None),
        (MultiCategorical([2, 3]), itertools.product(range(2), range(3)),
         [[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [1, 0, 0, 1, 0]]),
        (Bernoulli(2), itertools.product(range(2), range(2)), None),
    ],
    ids=["categorical", "masked", "several", "several masked", "switches"],
)  # fmt: skip
def test_products_are_those_of_the_definition(head, actions, mask):
    """Of discrete actions, also where some of them are illegal."""
    policy, weights = tiny_policy(head, seed=1, mask=mask)
    shares = np.array([0.2, 0.7, 0.1])
    rows = [np.tile(action, (3, *[1] * np.ndim(action))) for action in actions]
    rows = [row.reshape([3, *head.action_shape]) for row in rows]
    expected = score_matrix(head, policy, weights, rows, shares)
    product = fisher_product(policy, weights, head.kl, tf.constant(shares))
    np.testing.assert_allclose(dense(product, len(weights)), expected, atol=1e-10)
    assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("mode", ["graph", pytest.param("xla", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "head",
    [HEADS[0], *(pytest.param(head, marks=pytest.mark.long) for head in HEADS[1:])],
    ids=lambda head: type(head).__name__,
)
def test_products_within_a_compiled_loop(head, mode):
    """Conjugate gradients in one program, as the agent runs them."""
    policy, weights = tiny_policy(head, seed=2)
    vector = tf.constant(np.random.default_rng(3).normal(size=len(weights)))
    shares = tf.fill([3], tf.constant(1 / 3, tf.float64))

    def solve(weights, vector):
        product = fisher_product(policy, weights, head.kl, shares, 0.1)
        return conjugate_gradient(product, vector, 40, 1e-12).solution

    matrix = dense(fisher_product(policy, weights, head.kl, shares, 0.1), len(weights))
    compiled = tf.function(solve, jit_compile=mode == "xla", autograph=False)
    found = compiled(weights, vector)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, vector), atol=1e-8)


def test_the_length_reaches_the_divergence():
    """For a Gaussian mean the second-order estimate is exact."""
    head = DiagonalGaussian([-1.0], [1.0])

    def parameters(mean):
        return tf.stack([mean, tf.math.log([2.0])], axis=1)

    mean, gradient = tf.constant([0.7]), tf.constant([0.3])
    product = fisher_product(parameters, mean, head.kl, tf.ones([1]))
    x, residual, _ = conjugate_gradient(product, gradient, 1)
    length = trust_region_length(x, gradient, residual, 0.02)
    moved = head.kl(parameters(mean), parameters(mean + length * x))
    np.testing.assert_allclose(moved, [0.02], rtol=1e-5)
    zero = trust_region_length(tf.zeros([1]), tf.zeros([1]), tf.zeros([1]), 0.02)
    assert float(zero) == 0.0


class TestLineSearch:
    @pytest.mark.parametrize(
        ("improvement", "divergence", "expected"),
        [  # factor 1/2, limit 0.1, four trials: 1, 1/2, 1/4, 1/8
            (lambda x: x, lambda x: 0.1 * x, (1.0, 1.0, 0.1)),
            (lambda x: x, lambda x: 0.11 * x, (0.5, 0.5, 0.055)),
            (lambda x: 0.3 - x, lambda x: 0.0 * x, (0.25, 0.05, 0.0)),
            (lambda x: 0.3 - x, lambda x: 0.5 * x, (0.125, 0.175, 0.0625)),
            (lambda x: 0.1 - x, lambda x: 0.0 * x, (0.0, 0.0, 0.0)),
            (lambda x: 0.0 * x, lambda x: 0.0 * x, (0.0, 0.0, 0.0)),
            (lambda x: tf.math.log(0.6 - x), lambda x: x, (0.0, 0.0, 0.0)),
            (lambda x: tf.sqrt(0.3 - x), lambda x: 0.0 * x, (0.25, 0.05**0.5, 0.0)),
            (lambda x: x, lambda x: tf.sqrt(0.3 - x) - 0.2, (0.25, 0.25, 0.0236068)),
        ],
    )
    def test_by_hand(self, compiled, improvement, divergence, expected):
        def search(limit):
            return backtracking_line_search(
                lambda x: (improvement(x), divergence(x)), limit, 0.5, 4
            )

        found = compiled(search)(tf.constant(0.1))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)

    def test_bad_arguments(self):
        for changes, name in [
            ({"max_divergence": 0.0}, "max_divergence"),
            ({"factor": 1.0}, "factor"),
            ({"max_trials": 0}, "max_trials"),
        ]:
            with pytest.raises(ValueError, match=name):
                backtracking_line_search(
                    lambda x: (x, x), **{"max_divergence": 0.1, **changes}
                )
