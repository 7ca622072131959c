"""Policy losses. One value per sample; the caller weights and reduces."""

import math
import numbers

from keras import ops

from kerasrl2._checks import check_range, check_same_shape
from kerasrl2.losses._inputs import floats, legal_actions, matched, scalar, tensor


def policy_gradient_loss(log_prob, advantage):
    """The pseudo-loss whose gradient is the negative policy gradient.

    Section 3 of Williams (1992), https://doi.org/10.1007/BF00992696: `-log pi(a|s) A`.
    Its value means nothing, only its gradient does. Only `log_prob` receives one.

    Args:
        log_prob: `[...]` float, log-probability (nats) of the action taken.
        advantage: `[...]` float, what the action was worth, in units of return: a
            return, a return minus a baseline, or an advantage estimate.

    Returns:
        `[...]` float, the loss of each sample.

    Example:
    >>> loss = policy_gradient_loss(ops.log([0.5]), ops.convert_to_tensor([2.0]))
    >>> round(float(loss[0]), 6)
    1.386294
    """
    log_prob, advantage = matched(log_prob=log_prob, advantage=advantage)
    return -log_prob * ops.stop_gradient(advantage)


def surrogate_loss(log_prob, old_log_prob, advantage):
    """The surrogate objective of conservative policy iteration, negated.

    Equation (6) of Schulman et al. (2017), https://arxiv.org/abs/1707.06347: `-rho * A`
    with `rho = exp(log_prob - old_log_prob)`. Nothing keeps `rho` near 1: it needs a
    penalty, see `kl_penalty`, or a constraint. Only `log_prob` receives a gradient.

    Args:
        log_prob: `[...]` float, log-probability (nats) of the action taken, under the
            policy being trained.
        old_log_prob: `[...]` float, the same under the policy that acted.
        advantage: `[...]` float, advantage `A` of that action, in units of return.

    Returns:
        `[...]` float, the loss of each sample.

    Example:
    >>> loss = surrogate_loss(ops.log([1.5]), ops.log([1.0]), ops.ones([1]))
    >>> round(float(loss[0]), 4)
    -1.5
    """
    log_prob, old_log_prob, advantage = matched(
        log_prob=log_prob, old_log_prob=old_log_prob, advantage=advantage
    )
    ratio = ops.exp(log_prob - ops.stop_gradient(old_log_prob))
    return -ratio * ops.stop_gradient(advantage)


def clipped_surrogate_loss(log_prob, old_log_prob, advantage, clip_range=0.2):
    """PPO's clipped surrogate objective, negated so that it is minimised.

    Equation (7) of Schulman et al. (2017), https://arxiv.org/abs/1707.06347:
    `-min(rho * A, clip(rho, 1 - eps, 1 + eps) * A)` with
    `rho = exp(log_prob - old_log_prob)`. Only `log_prob` receives a gradient.

    Args:
        log_prob: `[...]` float, log-probability (nats) of the action taken, under the
            policy being trained.
        old_log_prob: `[...]` float, the same under the policy that acted.
        advantage: `[...]` float, advantage `A` of that action, in units of return.
        clip_range: Float in (0, 1), the paper's `eps`.

    Returns:
        `[...]` float, the loss of each sample.

    Example:
    >>> loss = clipped_surrogate_loss(ops.log([1.5]), ops.log([1.0]), ops.ones([1]))
    >>> round(float(loss[0]), 4)
    -1.2
    """
    check_range("clip_range", clip_range, 0.0, 1.0, open_low=True, open_high=True)
    log_prob, old_log_prob, advantage = matched(
        log_prob=log_prob, old_log_prob=old_log_prob, advantage=advantage
    )
    advantage = ops.stop_gradient(advantage)
    ratio = ops.exp(log_prob - ops.stop_gradient(old_log_prob))
    clipped_ratio = ops.clip(ratio, 1.0 - clip_range, 1.0 + clip_range)
    return -ops.minimum(ratio * advantage, clipped_ratio * advantage)


def categorical_log_prob(logits, action):
    """Log-probability (nats) of discrete actions, from unnormalised logits.

    Gradients flow to `logits`.

    Args:
        logits: `[..., A]` float.
        action: `[...]` int, in `0 .. A - 1`. Any other gives NaN and no gradient.

    Returns:
        `[...]` float.

    Example:
    >>> log_prob = categorical_log_prob(ops.zeros([1, 4]), ops.zeros([1], "int32"))
    >>> round(float(log_prob[0]), 6)
    -1.386294
    """
    logits, action = floats(logits), tensor(action)
    check_same_shape(logits=logits[..., 0], action=action)
    num_actions = logits.shape[-1]
    action, legal = legal_actions(action, num_actions)
    taken = ops.expand_dims(action, -1) == ops.arange(num_actions, dtype="int32")
    log_p = ops.log_softmax(logits, axis=-1)
    chosen = ops.sum(ops.where(taken, log_p, 0.0), axis=-1)
    return ops.where(legal, chosen, float("nan"))


def categorical_entropy(logits):
    """Entropy (nats) of a categorical distribution, from unnormalised logits.

    `-sum_a p(a) log p(a)`, where `0 log 0` is 0: logits of -inf are allowed. To explore
    more, subtract it from the loss. Gradients flow to `logits`.

    Args:
        logits: `[..., A]` float.

    Returns:
        `[...]` float, between 0 and `log A`.

    Example:
    >>> round(float(categorical_entropy(ops.log([[0.75, 0.25]]))[0]), 6)
    0.562335
    """
    log_p = ops.log_softmax(floats(logits), axis=-1)
    finite = ops.where(log_p > -float("inf"), log_p, 0.0)
    return -ops.sum(ops.exp(log_p) * finite, axis=-1)


def kl_penalty(kl, coefficient, target=0.0):
    """A penalty on leaving the old policy, `coefficient * max(kl - target, 0)`.

    With `target=0` the penalty of equation (8) of Schulman et al. (2017),
    https://arxiv.org/abs/1707.06347. Gradients flow to `kl`.

    Args:
        kl: `[...]` float, divergence (nats), for instance `head.kl(old, new)`.
        coefficient: Finite float >= 0 or scalar tensor, the paper's `beta`.
        target: Float >= 0, the divergence (nats) up to which nothing is charged.

    Returns:
        `[...]` float.

    Example:
    >>> [round(float(x), 4) for x in kl_penalty(ops.array([0.5, 0.1]), 2.0, target=0.2)]
    [0.6, 0.0]
    """
    check_range("coefficient", coefficient, 0.0, math.inf, open_high=True)
    check_range("target", target, 0.0)
    kl = floats(kl)
    if not (isinstance(target, numbers.Real) and target == 0.0):
        kl = ops.maximum(kl - scalar(target, kl), 0.0)
    return scalar(coefficient, kl) * kl


def adapted_kl_coefficient(coefficient, kl, target, tolerance=0.3):
    """The weight of a KL penalty for the next rollout.

    As section 4 of Schulman et al. (2017), https://arxiv.org/abs/1707.06347, with the
    numbers of TF-Agents' `PPOKLPenaltyAgent`: 1.5 times as much after a divergence
    above `target * (1 + tolerance)`, 1.5 times less after one below `target * (1 -
    tolerance)`, but at least 1e-15. The paper doubles and halves it, outside of `target
    * 1.5` and `target / 1.5`. NaN changes nothing. Nothing receives a gradient.

    Args:
        coefficient: `[]` float > 0, the paper's `beta`.
        kl: `[]` float, the mean divergence (nats) after learning from a rollout.
        target: Float > 0, the divergence (nats) that is aimed at.
        tolerance: Float in [0, 1).

    Returns:
        `[]` float.

    Example:
    >>> adapt = adapted_kl_coefficient
    >>> [float(adapt(3.0, kl, target=0.01)) for kl in (0.02, 0.01, 0.0)]
    [4.5, 3.0, 2.0]
    """
    check_range("target", target, 0.0, open_low=True)
    check_range("tolerance", tolerance, 0.0, 1.0, open_high=True)
    kl = ops.stop_gradient(floats(kl))
    coefficient = ops.stop_gradient(scalar(coefficient, kl))
    target, tolerance = scalar(target, kl), scalar(tolerance, kl)
    one, factor = ops.ones_like(kl), scalar(1.5, kl)
    more = ops.where(kl > target * (1.0 + tolerance), factor, one)
    less = ops.where(kl < target * (1.0 - tolerance), factor, one)
    return ops.maximum(coefficient * more / less, scalar(1e-15, kl))


def approximate_kl(log_prob, old_log_prob):
    """Estimates `KL(old policy || new policy)` from actions of the old policy.

    The estimator `k3` of Schulman (2020), http://joschu.net/blog/kl-approx.html:
    `(rho - 1) - log rho` with `rho = exp(log_prob - old_log_prob)`. Its mean is the
    divergence, no term is negative, and its variance is small near 0. A measure, to
    stop early for instance: no argument receives a gradient.

    Args:
        log_prob: `[...]` float, log-probability (nats) of the action taken, under the
            policy being trained.
        old_log_prob: `[...]` float, the same under the policy that acted.

    Returns:
        `[...]` float >= 0, nats.

    Example:
    >>> round(float(approximate_kl(ops.log([2.0]), ops.log([1.0]))[0]), 6)
    0.306853
    """
    log_prob, old_log_prob = matched(log_prob=log_prob, old_log_prob=old_log_prob)
    log_ratio = ops.stop_gradient(log_prob - old_log_prob)
    return ops.expm1(log_ratio) - log_ratio
