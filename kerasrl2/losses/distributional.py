"""Losses of value distributions. One value per sample."""

from keras import ops

from kerasrl2._checks import check_range, check_same_shape


def project_distribution(support, probabilities, reward, discount):
    """Projects the distribution of `r + discount * z` back onto the support.

    Algorithm 1 of Bellemare et al. (2017), https://arxiv.org/abs/1707.06887: every
    shifted atom is clipped to the support and shared between its two neighbours in
    proportion to nearness. Mass is kept. Nothing receives a gradient.

    Args:
        support: `[M]` float, evenly spaced atoms, increasing, in units of return.
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
    support = ops.convert_to_tensor(support)
    if len(support.shape) != 1 or support.shape[0] < 2:
        raise ValueError(
            f"Expected `support` of at least two atoms, [M]. "
            f"Received: support.shape={tuple(support.shape)}"
        )
    check_same_shape(reward=reward, discount=discount)
    check_same_shape(atoms=support, probabilities_of_one_row=probabilities[0])
    spacing = (support[-1] - support[0]) / (support.shape[0] - 1)
    shifted = reward[:, None] + discount[:, None] * support  # [B, M]
    shifted = ops.clip(shifted, support[0], support[-1])
    distance = ops.abs(shifted[:, None, :] - support[:, None]) / spacing  # [B, M, M]
    share = ops.clip(1.0 - distance, 0.0, 1.0)
    return ops.stop_gradient(ops.sum(share * probabilities[:, None, :], axis=-1))


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
    check_same_shape(target_probabilities=target_probabilities, logits=logits)
    log_p = ops.log_softmax(logits, axis=-1)
    return -ops.sum(ops.stop_gradient(target_probabilities) * log_p, axis=-1)


def quantile_huber_loss(quantiles, target_quantiles, fractions, delta=1.0):
    """Quantile regression with the Huber loss.

    Equation (10) of Dabney et al. (2018), https://arxiv.org/abs/1710.10044, without its
    division by `delta`: `sum_i mean_j |tau_i - 1{u_ij < 0}| * huber(u_ij)` with
    `u_ij = target_j - theta_i`. Only `quantiles` receives a gradient.

    Args:
        quantiles: `[B, M]` float, predictions `theta` for the action taken.
        target_quantiles: `[B, K]` float, in units of return.
        fractions: `[M]` or `[B, M]` float in (0, 1), `tau`; QR-DQN's midpoints are
            `quantile_midpoints(M)`.
        delta: Float > 0, where the loss turns linear.

    Returns:
        `[B]` float.

    Example:
    >>> zero, half = ops.zeros([1, 1]), ops.array([0.5])
    >>> loss = quantile_huber_loss(zero, zero + 1.0, half)
    >>> float(loss[0])
    0.25
    """
    check_range("delta", delta, 0.0, open_low=True)
    ranks = len(quantiles.shape), len(target_quantiles.shape)
    if ranks != (2, 2):
        raise ValueError(
            "Expected `quantiles` [B, M] and `target_quantiles` [B, K]. Received: "
            f"{tuple(quantiles.shape)} and {tuple(target_quantiles.shape)}"
        )
    target = ops.stop_gradient(target_quantiles)
    error = target[:, None, :] - quantiles[:, :, None]  # [B, M, K]
    fractions = ops.cast(fractions, quantiles.dtype)[..., None]  # [M, 1] or [B, M, 1]
    size = ops.abs(error)
    loss = ops.where(size <= delta, size**2 / 2.0, delta * (size - delta / 2.0))
    below = ops.cast(ops.stop_gradient(error) < 0.0, quantiles.dtype)
    return ops.sum(ops.mean(ops.abs(fractions - below) * loss, axis=2), axis=1)


def quantile_midpoints(num_quantiles):
    """`[M]` float32, the fractions `(i + 1/2) / M` of lemma 2 of Dabney et al. (2018).

    Example:
    >>> [float(tau) for tau in quantile_midpoints(2)]
    [0.25, 0.75]
    """
    return (ops.arange(num_quantiles, dtype="float32") + 0.5) / num_quantiles
