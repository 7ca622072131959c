"""Natural gradients: steps measured by how far a distribution moves, not its weights.

Pure functions of one flat vector of weights, `[n]`; the caller holds the variables.
"""

import kerasrl2._startup  # noqa: F401

from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range


class Solution(NamedTuple):
    """What `conjugate_gradient` returns.

    Attributes:
        solution: `[n]` float, `x`.
        residual: `[n]` float, `b - A x`.
        iterations: Scalar int32, products that were computed.

    Example:
    >>> found = conjugate_gradient(lambda x: 2.0 * x, tf.constant([2.0, 4.0]))
    >>> [round(float(x), 4) for x in found.solution], int(found.iterations)
    ([1.0, 2.0], 1)
    """

    solution: Any
    residual: Any
    iterations: Any


class Step(NamedTuple):
    """What `backtracking_line_search` returns, scalars.

    Attributes:
        fraction: Float in [0, 1], the part of the whole step to take; 0: none.
        improvement: Float, of the objective by that part.
        divergence: Float >= 0, nats, by that part.

    Example:
    >>> step = backtracking_line_search(lambda x: (x - x * x, x * x), 0.3, 0.5, 4)
    >>> float(step.fraction), float(step.improvement), float(step.divergence)
    (0.5, 0.25, 0.25)
    """

    fraction: Any
    improvement: Any
    divergence: Any


def conjugate_gradient(product, vector, max_iterations=10, tolerance=1e-8):
    """Solves `A x = b` for a symmetric positive definite `A` that is not written out.

    Algorithm 5.2 of Nocedal and Wright (2006),
    https://doi.org/10.1007/978-0-387-40065-5, from `x = 0`. In exact arithmetic it
    ends after as many products as `A` has different eigenvalues. It stops before a
    direction in which `A` is not positive, so that the solution is one of those parts
    of `A` where it is. Nothing receives a gradient.

    Args:
        product: Callable, `[n]` float `v` to `A v`.
        vector: `[n]` float, `b`.
        max_iterations: Integer >= 1 or scalar tensor.
        tolerance: Float >= 0, residual norm, as a fraction of that of `b`, to stop at.

    Returns:
        `Solution(solution, residual, iterations)`.

    Example:
    >>> matrix = tf.constant([[4.0, 1.0], [1.0, 3.0]])
    >>> found = conjugate_gradient(
    ...     lambda v: tf.linalg.matvec(matrix, v), tf.constant([1.0, 2.0]))
    >>> [round(float(x), 4) for x in found.solution], int(found.iterations)
    ([0.0909, 0.6364], 2)
    """
    if not tf.is_tensor(max_iterations):
        check_positive_integer("max_iterations", max_iterations)
    check_range("tolerance", tolerance, 0.0)
    vector = tf.stop_gradient(tf.convert_to_tensor(vector))
    squared = _dot(vector, vector)
    enough = squared * tf.cast(tolerance, vector.dtype) ** 2

    def iterate(i, x, residual, direction, squared, positive):
        image = product(direction)
        curvature = _dot(direction, image)
        positive = curvature > 0.0
        step = tf.math.divide_no_nan(squared, tf.maximum(curvature, 0.0))
        residual = residual - step * image
        new = _dot(residual, residual)
        following = residual + tf.math.divide_no_nan(new, squared) * direction
        return i + 1, x + step * direction, residual, following, new, positive

    i, x, residual, *_ = tf.while_loop(
        lambda i, x, residual, direction, squared, positive: (
            (i < tf.cast(max_iterations, tf.int32)) & (squared > enough) & positive
        ),
        iterate,
        (0, tf.zeros_like(vector), vector, vector, squared, tf.constant(True)),
        parallel_iterations=1,
    )
    return Solution(x, residual, i)


def fisher_product(function, weights, divergence, row_weights, damping=0.0):
    """The product of vectors with the Fisher matrix of a policy, as a callable.

    Appendix C.1 of Schulman et al. (2015), https://arxiv.org/abs/1502.05477:
    `F = sum_b w_b J_b^T M_b J_b` with the Jacobian `J_b` of a row's parameters by the
    weights and `M_b` the second derivatives of `divergence(old, new)` by the new ones
    at the old ones. This is the matrix of second derivatives of the mean divergence,
    whose first ones are 0 there. Function and Jacobian are recorded once, and used by
    all products.

    Args:
        function: Callable, `[n]` weights to `[B, P]` parameters; differentiable twice.
        weights: `[n]` float, where to differentiate.
        divergence: Callable, `([B, P], [B, P])` to `[B]`, nats: the `kl` of a head.
        row_weights: `[B]` float >= 0, `w_b`: `1 / B` for a mean.
        damping: Float >= 0 or scalar tensor, added to the diagonal of `F`.

    Returns:
        Callable, `[n]` float to `[n]` float.

    Example:
    >>> from kerasrl2.distributions import Categorical
    >>> product = fisher_product(  # two actions, one logit: p (1 - p)
    ...     lambda w: tf.stack([w, tf.zeros([1])], axis=1), tf.math.log([3.0]),
    ...     Categorical(2).kl, tf.constant([1.0]))
    >>> round(float(product(tf.constant([1.0]))[0]), 4)
    0.1875
    """
    check_range("damping", damping, 0.0)
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(weights)
            parameters = function(weights)
        rows = tf.zeros_like(parameters)
        outer.watch(rows)
        # J^T rows, linear in rows: its derivative in the direction v is J v.
        pulled_back = inner.gradient(parameters, weights, output_gradients=rows)
    old = tf.stop_gradient(parameters)

    def product(vector):
        change = outer.gradient(pulled_back, rows, output_gradients=vector)
        curved = curvature(divergence, old, row_weights, change)
        image = inner.gradient(parameters, weights, output_gradients=curved)
        return image + tf.cast(damping, image.dtype) * vector

    return product


def curvature(divergence, parameters, row_weights, change):
    """Second derivatives of `sum_b w_b divergence(old, new)_b`, times a change.

    Args:
        divergence: Callable, `([B, P], [B, P])` to `[B]`.
        parameters: `[B, P]` float, old and new ones.
        row_weights: `[B]` float.
        change: `[B, P]` float.

    Returns:
        `[B, P]` float.
    """
    parameters = tf.stop_gradient(parameters)
    with tf.GradientTape() as outer:
        outer.watch(parameters)
        with tf.GradientTape() as inner:
            inner.watch(parameters)
            old = tf.stop_gradient(parameters)
            total = tf.reduce_sum(row_weights * divergence(old, parameters))
        slope = inner.gradient(total, parameters)
    return outer.gradient(slope, parameters, output_gradients=change)


def trust_region_length(solution, vector, residual, max_divergence):
    """How many times `x = A^-1 g` reaches a divergence, by its second-order estimate.

    Appendix C of Schulman et al. (2015), https://arxiv.org/abs/1502.05477:
    `sqrt(2 delta / x^T A x)`, with `A x = g - residual`.

    Args:
        solution: `[n]` float, `x`.
        vector: `[n]` float, `g`.
        residual: `[n]` float.
        max_divergence: Float > 0 or scalar tensor, `delta`, nats.

    Returns:
        Scalar float; 0 where `x^T A x` is not positive.

    Example:
    >>> x, g = tf.constant([1.0]), tf.constant([0.25])
    >>> round(float(trust_region_length(x, g, tf.zeros([1]), 0.02)), 4)
    0.4
    """
    check_range("max_divergence", max_divergence, 0.0, open_low=True)
    quadratic = _dot(solution, vector - residual)
    squared = 2.0 * tf.cast(max_divergence, quadratic.dtype)
    return tf.sqrt(tf.math.divide_no_nan(squared, tf.maximum(quadratic, 0.0)))


def backtracking_line_search(evaluate, max_divergence, factor=0.8, max_trials=10):
    """The first of the fractions `1, factor, factor^2, ...` of a step to be taken.

    Appendix C of Schulman et al. (2015), https://arxiv.org/abs/1502.05477: the first
    one that improves the objective and stays within the divergence. NaN does neither.

    Args:
        evaluate: Callable, scalar fraction to `(improvement, divergence)`, scalars.
        max_divergence: Float > 0 or scalar tensor, nats.
        factor: Float in (0, 1) or scalar tensor.
        max_trials: Integer >= 1 or scalar tensor, fractions to try.

    Returns:
        `Step(fraction, improvement, divergence)`, zeros if none of them may be taken.

    Example:
    >>> step = backtracking_line_search(lambda x: (x, 0.02 * x * x), 0.01, 0.5, 4)
    >>> float(step.fraction), round(float(step.divergence), 4)
    (0.5, 0.005)
    """
    check_range("max_divergence", max_divergence, 0.0, open_low=True)
    check_range("factor", factor, 0.0, 1.0, open_low=True, open_high=True)
    if not tf.is_tensor(max_trials):
        check_positive_integer("max_trials", max_trials)
    none = tf.zeros([])

    def attempt(i, fraction, found):
        improvement, divergence = evaluate(fraction)
        good = (improvement > 0.0) & (divergence <= max_divergence)
        tried = Step(fraction, improvement, divergence)
        kept = (tf.where(good, new, 0.0) for new in tried)
        return i + 1, fraction * factor, Step(*kept)

    return tf.while_loop(
        lambda i, fraction, found: (
            (i < tf.cast(max_trials, tf.int32)) & (found.fraction <= 0.0)
        ),
        attempt,
        (0, tf.ones([]), Step(none, none, none)),
        parallel_iterations=1,
    )[2]


def _dot(x, y):
    return tf.tensordot(x, y, 1)
