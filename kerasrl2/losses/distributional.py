"""Losses of value distributions. One value per sample."""

import numbers

import numpy as np
from keras import ops

from kerasrl2._checks import agree, check_positive_integer, check_range
from kerasrl2.losses._inputs import floats, matched, tensor, value_now
from kerasrl2.losses.values import huber


def project_distribution(support, probabilities, reward, discount):
    """Projects the distribution of `r + discount * z` back onto the support.

    Algorithm 1 of Bellemare et al. (2017), https://arxiv.org/abs/1707.06887: every
    shifted atom is clipped to the support and shared between its two neighbours in
    proportion to nearness. Mass is kept. Nothing receives a gradient.

    Args:
        support: `[M]` float, evenly spaced atoms, increasing, in units of return:
            checked where its values are known, as they are outside of graphs.
        probabilities: `[B, M]` float, of the atoms at the next state.
        reward: `[B]` float.
        discount: `[B]` float, 0 where the next state is terminal.

    Returns:
        `[B, M]` float, probabilities of the atoms.

    Example:
    >>> target = project_distribution(
    ...     ops.array([0.0, 1.0, 2.0]), ops.array([[0.0, 0.0, 1.0]]),
    ...     ops.array([0.5]), ops.array([0.5]),
    ... )
    >>> [float(p) for p in target[0]]
    [0.0, 0.5, 0.5]
    """
    probabilities, support = floats(probabilities), tensor(support)
    _check_support(support)
    support = ops.cast(support, probabilities.dtype)
    num_atoms = support.shape[0]
    if not agree(tuple(probabilities.shape), (None, num_atoms)):
        raise ValueError(
            f"Expected `probabilities` of shape [B, {num_atoms}]. "
            f"Received: probabilities.shape={tuple(probabilities.shape)}"
        )
    _, reward, discount = matched(
        rows_of_probabilities=probabilities[:, 0], reward=reward, discount=discount
    )
    spacing = (support[-1] - support[0]) / (num_atoms - 1)
    shifted = reward[:, None] + discount[:, None] * support  # [B, M]
    shifted = ops.clip(shifted, support[0], support[-1])
    distance = ops.abs(shifted[:, None, :] - support[:, None]) / spacing  # [B, M, M]
    share = ops.clip(1.0 - distance, 0.0, 1.0)
    return ops.stop_gradient(ops.sum(share * probabilities[:, None, :], axis=-1))


def _check_support(support):
    if len(support.shape) != 1 or support.shape[0] < 2:
        raise ValueError(
            f"Expected `support` of at least two atoms, [M]. "
            f"Received: support.shape={tuple(support.shape)}"
        )
    atoms = value_now(support)
    if atoms is not None and not _is_even(atoms.astype(np.float64), atoms.dtype):
        raise ValueError(
            "Expected `support` of finite, increasing, evenly spaced atoms: others "
            f"lose or gain mass. Received: support={atoms.tolist()}. Take "
            "`ops.linspace(low, high, M)` in float32"
        )


def _is_even(atoms, dtype):
    """Whether atoms increase in equal steps, but for rounding in their dtype."""
    if not np.isfinite(atoms).all() or not np.all(np.diff(atoms) > 0.0):
        return False
    even = np.linspace(atoms[0], atoms[-1], len(atoms))
    digit = np.finfo(np.float64 if dtype == np.float64 else np.float32).eps
    room = 1e-3 * (even[1] - even[0]) + 2.0 * digit * np.abs(atoms).max()
    return bool(np.all(np.abs(atoms - even) <= room))


def distributional_cross_entropy(target_probabilities, logits):
    """Cross-entropy from target to predicted distribution, `-sum_j m_j log p_j`.

    Bellemare et al. (2017), https://arxiv.org/abs/1707.06887, algorithm 1. Only
    `logits` receives a gradient.

    Args:
        target_probabilities: `[B, M]` float, for instance of `project_distribution`.
        logits: `[B, M]` float, of the atoms for the action taken.

    Returns:
        `[B]` float, nats.

    Example:
    >>> loss = distributional_cross_entropy(ops.array([[1.0, 0.0]]), ops.zeros([1, 2]))
    >>> round(float(loss[0]), 4)
    0.6931
    """
    logits, target = matched(logits=logits, target_probabilities=target_probabilities)
    log_p = ops.log_softmax(logits, axis=-1)
    return -ops.sum(ops.stop_gradient(target) * log_p, axis=-1)


def quantile_huber_loss(quantiles, target_quantiles, fractions, delta=1.0):
    """Quantile regression with the Huber loss.

    Equation (10) of Dabney et al. (2018), https://arxiv.org/abs/1710.10044, without its
    division by `delta`: `sum_i mean_j |tau_i - 1{u_ij < 0}| * huber(u_ij)` with
    `u_ij = target_j - theta_i`. Only `quantiles` receives a gradient.

    Args:
        quantiles: `[B, M]` float, predictions `theta` for the action taken.
        target_quantiles: `[B, K]` float, in units of return.
        fractions: `[M]` or `[B, M]` float in [0, 1], `tau`; QR-DQN's midpoints are
            `quantile_midpoints(M)`.
        delta: Float >= 0, where the loss turns linear. With infinity it is half the
            square; with 0 the plain quantile loss, `|u|` in place of `huber(u)`.

    Returns:
        `[B]` float.

    Example:
    >>> zero, half = ops.zeros([1, 1]), ops.array([0.5])
    >>> loss = quantile_huber_loss(zero, zero + 1.0, half)
    >>> float(loss[0])
    0.25
    """
    check_range("delta", delta, 0.0)
    quantiles, target = floats(quantiles), tensor(target_quantiles)
    fractions = ops.cast(fractions, quantiles.dtype)
    _check_quantiles(quantiles, target, fractions)
    target = ops.stop_gradient(ops.cast(target, quantiles.dtype))
    error = target[:, None, :] - quantiles[:, :, None]  # [B, M, K]
    fractions = fractions[..., None]  # [M, 1] or [B, M, 1]
    plain = isinstance(delta, numbers.Real) and delta == 0.0
    loss = ops.abs(error) if plain else huber(error, delta)
    below = ops.cast(ops.stop_gradient(error) < 0.0, quantiles.dtype)
    return ops.sum(ops.mean(ops.abs(fractions - below) * loss, axis=2), axis=1)


def _check_quantiles(quantiles, target, fractions):
    shapes = [tuple(x.shape) for x in (quantiles, target, fractions)]
    known = agree(shapes[0], (None, None)) and agree(shapes[1], (*shapes[0][:1], None))
    if not known or not (
        agree(shapes[2], shapes[0]) or agree(shapes[2], shapes[0][1:])
    ):
        raise ValueError(
            "Expected `quantiles` [B, M], `target_quantiles` [B, K] and `fractions` "
            f"[M] or [B, M]. Received: {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    values = value_now(fractions)
    if values is not None and not np.all((values >= 0.0) & (values <= 1.0)):
        raise ValueError(f"Expected `fractions` in [0, 1]. Received: {values.tolist()}")


def quantile_midpoints(num_quantiles):
    """`[M]` float32, the fractions `(i + 1/2) / M` of lemma 2 of Dabney et al. (2018).

    Example:
    >>> [float(tau) for tau in quantile_midpoints(2)]
    [0.25, 0.75]
    """
    check_positive_integer("num_quantiles", num_quantiles)
    return (ops.arange(num_quantiles, dtype="float32") + 0.5) / num_quantiles
