"""Returns, advantages and value targets of rollouts, time-major `[T, N]`.

Four arguments mean the same everywhere. `reward[t]` follows the action of step `t`.
`discount[t]` is `gamma * (1 - terminated[t])`: only a terminal state stops
bootstrapping. `ended[t]` is `terminated[t] | truncated[t]`: either cuts a recursion.
`next_value[t]` is the value of the true successor of step `t`, so it is the value of
the final observation, never of the reset observation, where an episode ended; the
last row bootstraps from it as well.

All functions accept `[T]` or `[T, ...]` with a static `T`, compute in the dtype of
`next_value` (float32 if that is not a float) and return targets: no argument receives
a gradient.
"""

import kerasrl2._startup  # noqa: F401

from typing import Any, NamedTuple

from keras import ops

from kerasrl2._checks import (
    check_choice,
    check_positive_integer,
    check_range,
    check_same_shape,
)


class VTrace(NamedTuple):
    """What `vtrace_targets` returns.

    Attributes:
        targets: `[T, ...]` float, `v_s`, what the value of step `t` is trained to.
        policy_advantages: `[T, ...]` float, what multiplies `grad log pi`.

    Example:
    >>> found = vtrace_targets(
    ...     reward=[1.0], discount=[0.0], ended=[True], value=[0.25], next_value=[0.0],
    ...     log_prob=[-1.0], behaviour_log_prob=[-1.0],
    ... )
    >>> float(found.targets[0]), float(found.policy_advantages[0])
    (1.0, 0.75)
    """

    targets: Any
    policy_advantages: Any


def discounted_returns(reward, discount, ended, next_value):
    """Sums of discounted rewards to the end of the episode or rollout, bootstrapped.

    Section 3.4 of Sutton and Barto (2018), http://incompleteideas.net/book/the-book.html:
    `G_t = R_{t+1} + gamma G_{t+1}`, where `v(S_{t+1})` replaces `G_{t+1}` after the
    last step of an episode or of the rollout. No argument receives a gradient.

    Args:
        reward: `[T, ...]` float or int, in units of return.
        discount: `[T, ...]` float, `gamma * (1 - terminated)`.
        ended: `[T, ...]` bool, `terminated | truncated`.
        next_value: `[T, ...]` float, value of the true successor. Zeros give the plain
            Monte Carlo return.

    Returns:
        `[T, ...]` float.

    Example:
    >>> returns = discounted_returns(
    ...     reward=[1, 1, 1], discount=[0.5, 0.5, 0.0],
    ...     ended=[False, False, True], next_value=[0.0, 0.0, 9.0])
    >>> [float(x) for x in returns]
    [1.75, 1.5, 1.0]
    """
    return lambda_returns(reward, discount, ended, next_value, lambda_=1.0)


def restarted_discount(reward, discount):
    """Discounts that end a sum of rewards at every reward that is not 0.

    For games of several points, where a reward tells how the moves since the last one
    were, as in Pong: https://karpathy.github.io/2016/05/31/rl/. To be passed to the
    functions below as `discount`.

    Args:
        reward: `[T, ...]` float or int.
        discount: `[T, ...]` float, `gamma * (1 - terminated)`.

    Returns:
        `[T, ...]` float: `discount`, but 0 where `reward` is not 0.

    Example:
    >>> reward, discount = [0.0, 0.0, 1.0, 0.0, -1.0], [0.99] * 5
    >>> discount = restarted_discount(reward, discount)
    >>> returns = discounted_returns(reward, discount, [False] * 5, [0.0] * 5)
    >>> [round(float(x), 4) for x in returns]
    [0.9801, 0.99, 1.0, -0.99, -1.0]
    """
    reward, discount = _tensor(reward), _tensor(discount)
    check_same_shape(reward=reward, discount=discount)
    return ops.stop_gradient(ops.where(reward == 0, discount, 0.0))


def lambda_returns(reward, discount, ended, next_value, lambda_=0.95):
    """TD(lambda) returns: the target of a critic.

    Equation (12.18) of Sutton and Barto (2018), section 12.8,
    http://incompleteideas.net/book/the-book.html:
    `G_t = R_{t+1} + gamma ((1 - lambda) v(S_{t+1}) + lambda G_{t+1})`, with `v` in
    place of `G_{t+1}` after the last step. No argument receives a gradient.

    Args:
        reward: `[T, ...]` float or int, in units of return.
        discount: `[T, ...]` float, `gamma * (1 - terminated)`.
        ended: `[T, ...]` bool, `terminated | truncated`.
        next_value: `[T, ...]` float, value of the true successor.
        lambda_: Float in [0, 1]. 0 gives one-step targets, 1 discounted returns.

    Returns:
        `[T, ...]` float.

    Example:
    >>> returns = lambda_returns(
    ...     [1.0, 1.0], [0.5, 0.5], [False, False], [2.0, 4.0], lambda_=0.5)
    >>> [float(x) for x in returns]
    [2.25, 3.0]
    """
    _check_lambda(lambda_)
    reward, discount, next_value, last = _prepare(reward, discount, ended, next_value)
    if not isinstance(lambda_, float | int):
        lambda_ = ops.cast(lambda_, discount.dtype)
    decay = ops.where(last, 0.0, lambda_ * discount)
    target = reward + (discount - decay) * next_value
    return ops.stop_gradient(_reverse_recursion(target, decay))


def n_step_returns(reward, discount, ended, next_value, n, tail="bootstrap"):
    """Sums of the next `n` rewards, plus the discounted value of the state they reach.

    Equation (7.1) of Sutton and Barto (2018),
    http://incompleteideas.net/book/the-book.html:
    `G_t = sum_{k<n} gamma^k R_{t+k+1} + gamma^n v(S_{t+n})`. Where the episode or the
    rollout ends before `n` rewards there are two conventions, see `tail`. `n >= T`
    gives `discounted_returns`. No argument receives a gradient.

    Args:
        reward: `[T, ...]` float or int, in units of return.
        discount: `[T, ...]` float, `gamma * (1 - terminated)`.
        ended: `[T, ...]` bool, `terminated | truncated`.
        next_value: `[T, ...]` float, value of the true successor.
        n: Integer >= 1, env steps.
        tail: `"bootstrap"`: as many rewards as there are, plus the value of the last
            successor (0 if it is terminal). `"zero"`: no value term where fewer than
            `n` rewards exist; biased after a truncation.

    Returns:
        `[T, ...]` float.

    Example:
    >>> rollout = ([0, 1, 2], [2.0, 2.0, 2.0], [False] * 3, [1.0, 2.0, 10.0])
    >>> [float(x) for x in n_step_returns(*rollout, n=2)]
    [10.0, 45.0, 22.0]
    >>> [float(x) for x in n_step_returns(*rollout, n=2, tail="zero")]
    [10.0, 45.0, 2.0]
    """
    check_positive_integer("n", n)
    check_choice("tail", tail, ("bootstrap", "zero"))
    reward, discount, next_value, last = _prepare(reward, discount, ended, next_value)
    length = reward.shape[0]
    after_end = next_value if tail == "bootstrap" else ops.zeros_like(next_value)
    # The return over k + 1 steps is one reward and the successor's return over k.
    value = next_value if n <= length else after_end

    def one_more_step(_, successor):
        total = reward + discount * successor
        return ops.where(last, after_end, _shift(total, 1))

    value = ops.fori_loop(0, min(int(n), length) - 1, one_more_step, value)
    return ops.stop_gradient(reward + discount * value)


def generalized_advantages(reward, discount, ended, value, next_value, lambda_=0.95):
    """Generalized advantage estimates, GAE(gamma, lambda).

    Equations (11) to (16) of Schulman et al. (2016), https://arxiv.org/abs/1506.02438:
    `A_t = sum_l (gamma lambda)^l delta_{t+l}` with
    `delta_t = r_t + gamma V(s_{t+1}) - V(s_t)`. Adding `value` gives `lambda_returns`.
    No argument receives a gradient.

    Args:
        reward: `[T, ...]` float or int, in units of return.
        discount: `[T, ...]` float, `gamma * (1 - terminated)`.
        ended: `[T, ...]` bool, `terminated | truncated`.
        value: `[T, ...]` float, value of the state acted in.
        next_value: `[T, ...]` float, value of the true successor.
        lambda_: Float in [0, 1]. 0 gives TD errors, 1 discounted returns minus value.

    Returns:
        `[T, ...]` float, not standardised.

    Example:
    >>> advantage = generalized_advantages(
    ...     reward=[1.0, 1.0], discount=[0.5, 0.5], ended=[False, True],
    ...     value=[1.0, 2.0], next_value=[2.0, 4.0], lambda_=0.5)
    >>> [float(x) for x in advantage]
    [1.25, 1.0]
    """
    check_same_shape(value=ops.convert_to_tensor(value), ended=_tensor(ended))
    targets = lambda_returns(reward, discount, ended, next_value, lambda_)
    return ops.stop_gradient(targets - ops.cast(value, targets.dtype))


def vtrace_targets(
    reward,
    discount,
    ended,
    value,
    next_value,
    log_prob,
    behaviour_log_prob,
    lambda_=1.0,
    clip_rho=1.0,
    clip_c=1.0,
):
    """V-trace: off-policy value targets and policy-gradient advantages.

    Equations (1) and (4) of Espeholt et al. (2018), https://arxiv.org/abs/1802.01561:
    `v_s = V(x_s) + rho_s delta_s + gamma c_s (v_{s+1} - V(x_{s+1}))`, with
    `rho = min(rho_bar, ratio)` and `c = lambda min(c_bar, ratio)`; the advantage is
    `rho_s (r_s + gamma v_{s+1} - V(x_s))`. Its `v_{s+1}` is mixed with `V(x_{s+1})` in
    the proportion `lambda_` (the paper has no such mix, which is `lambda_=1`). After
    the last step `next_value` replaces both. No argument receives a gradient.

    Args:
        reward: `[T, ...]` float or int, in units of return.
        discount: `[T, ...]` float, `gamma * (1 - terminated)`.
        ended: `[T, ...]` bool, `terminated | truncated`.
        value: `[T, ...]` float, value of the state acted in.
        next_value: `[T, ...]` float, value of the true successor.
        log_prob: `[T, ...]` float, log-probability (nats) of the action under the
            policy being trained.
        behaviour_log_prob: `[T, ...]` float, the same under the policy that acted.
        lambda_: Float in [0, 1], remark 2 of the paper.
        clip_rho: Float > 0, `rho_bar`: decides which policy is evaluated.
        clip_c: Float > 0, `c_bar`: decides how fast information travels back.

    Returns:
        `VTrace(targets, policy_advantages)`, `[T, ...]` float each.

    Example:
    >>> on_policy = vtrace_targets(
    ...     [1.0, 1.0], [0.5, 0.5], [False, False], value=[0.0, 0.0],
    ...     next_value=[0.0, 4.0], log_prob=[-1.0, -2.0],
    ...     behaviour_log_prob=[-1.0, -2.0])
    >>> [float(x) for x in on_policy.targets]
    [2.5, 3.0]
    """
    _check_lambda(lambda_)
    for name, clip in (("clip_rho", clip_rho), ("clip_c", clip_c)):
        check_range(name, clip, 0.0, open_low=True)
    reward, discount, next_value, last = _prepare(reward, discount, ended, next_value)
    value, log_prob, behaviour_log_prob = (
        ops.cast(x, reward.dtype) for x in (value, log_prob, behaviour_log_prob)
    )
    check_same_shape(
        reward=reward,
        value=value,
        log_prob=log_prob,
        behaviour_log_prob=behaviour_log_prob,
    )
    ratio = ops.exp(log_prob - behaviour_log_prob)
    rho = ops.minimum(ratio, clip_rho)
    trace = lambda_ * ops.minimum(ratio, clip_c)
    delta = rho * (reward + discount * next_value - value)
    decay = ops.where(last, 0.0, discount * trace)
    correction = _reverse_recursion(delta, decay)  # v_s - V(x_s)
    targets = value + correction
    mixed = next_value + lambda_ * (_shift(targets, 1) - next_value)
    # With `ended` cut out, `next_value[t]` is `value[t + 1]` up to rounding.
    successor = ops.where(last, next_value, mixed)
    advantages = rho * (reward + discount * successor - value)
    return VTrace(ops.stop_gradient(targets), ops.stop_gradient(advantages))


def _tensor(x):
    return ops.convert_to_tensor(x)


def _check_lambda(lambda_):
    check_range("lambda_", lambda_, 0.0, 1.0)


def _prepare(reward, discount, ended, next_value):
    """Float tensors of one shape and dtype, and where the recursion is cut."""
    reward, discount, ended, next_value = map(
        _tensor, (reward, discount, ended, next_value)
    )
    check_same_shape(
        reward=reward, discount=discount, ended=ended, next_value=next_value
    )
    if not reward.shape or reward.shape[0] is None:
        raise ValueError(
            "Expected time-major tensors `[T, ...]` with a static length T. "
            f"Received: reward.shape={tuple(reward.shape)}"
        )
    dtype = next_value.dtype if next_value.dtype in ("float32", "float64") else None
    reward, discount, next_value = (
        ops.cast(x, dtype or "float32") for x in (reward, discount, next_value)
    )
    ended = ops.cast(ended, "bool")
    last_row = ops.ones_like(ended[:1])
    last = ops.concatenate([ended[:-1], last_row], axis=0)
    return reward, discount, next_value, last


def _shift(x, steps):
    """`x[t + steps]` at `t`, zeros past the end."""
    return ops.concatenate([x[steps:], ops.zeros_like(x[:steps])], axis=0)


def _reverse_recursion(addend, factor):
    """Solves `y[t] = addend[t] + factor[t] * y[t + 1]`, `y[T] = 0`.

    By doubling: after `k` rounds `y[t]` holds the terms of `2**k` steps and `factor[t]`
    their product. `log2(T)` vector operations instead of `T` small ones: for `T` 2048,
    0.4 ms in graph mode against 14 ms of `ops.scan`, and the same in XLA.
    """
    steps = 1
    while steps < addend.shape[0]:
        addend = addend + factor * _shift(addend, steps)
        factor = factor * _shift(factor, steps)
        steps *= 2
    return addend
