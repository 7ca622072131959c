"""Parts of Munchausen Q-learning: rewards that contain the policy. Per sample."""

import math

from keras import ops

from kerasrl2._checks import check_range
from kerasrl2.losses._inputs import floats, matched, scalar
from kerasrl2.losses.temporal_difference import value_of_action


def scaled_log_policy(q_values, temperature=0.03):
    """Log-probabilities of the softmax policy times its temperature, `tau ln pi`.

    `q - max(q) - tau ln sum_b exp((q_b - max(q)) / tau)`, appendix B.1 of Vieillard et
    al. (2020), https://arxiv.org/abs/2007.14430: exact also where `pi` underflows.

    Args:
        q_values: `[..., A]` float, in units of return. Receives a gradient.
        temperature: Finite float > 0, the paper's `tau`, in units of return.

    Returns:
        `[..., A]` float <= 0, in units of return. Divided by `temperature` it is the
        log-probability in nats.

    Example:
    >>> log_policy = scaled_log_policy(ops.array([0.0, 3.0]), temperature=0.03)
    >>> [round(float(x), 4) for x in log_policy]
    [-3.0, 0.0]
    """
    q_values, temperature = _with_temperature(q_values, temperature)
    below = q_values - ops.max(q_values, axis=-1, keepdims=True)
    return below - temperature * ops.logsumexp(
        below / temperature, axis=-1, keepdims=True
    )


def soft_value(q_values, temperature=0.03):
    """Value of the softmax policy with its entropy, `sum_a pi (q - tau ln pi)`.

    The soft-DQN target of section 2 of Vieillard et al. (2020),
    https://arxiv.org/abs/2007.14430. The sum is `tau ln sum_a exp(q_a / tau)`, which
    lies between `max(q)` and `max(q) + tau ln A`.

    Args:
        q_values: `[..., A]` float, in units of return. Receives a gradient.
        temperature: Finite float > 0, `tau`, in units of return.

    Returns:
        `[...]` float.

    Example:
    >>> round(float(soft_value(ops.array([1.0, 1.0]), temperature=1.0)), 4)
    1.6931
    """
    q_values, temperature = _with_temperature(q_values, temperature)
    highest = ops.max(q_values, axis=-1)
    below = (q_values - highest[..., None]) / temperature
    return highest + temperature * ops.logsumexp(below, axis=-1)


def munchausen_reward(q_values, action, temperature=0.03, scale=0.9, clip=-1.0):
    """What Munchausen Q-learning adds to the reward of a step.

    `alpha [tau ln pi(a|s)]_{l_0}^0` with `pi = softmax(q / tau)`, section 2 of
    Vieillard et al. (2020), https://arxiv.org/abs/2007.14430. The clipping keeps it
    between `scale * clip` and 0. Nothing receives a gradient.

    Args:
        q_values: `[..., A]` float, `q(s, .)` of the target network, in units of return.
        action: `[...]` int, the action taken in `s`.
        temperature: Finite float > 0, the paper's `tau`, in units of return.
        scale: Float in [0, 1], the paper's `alpha`.
        clip: Float <= 0, the paper's `l_0`, in units of return; -inf does not clip.

    Returns:
        `[...]` float <= 0.

    Example:
    >>> q_values = ops.array([[0.0, 3.0], [0.0, 3.0]])
    >>> bonus = munchausen_reward(q_values, [0, 1])
    >>> [round(float(x), 4) for x in bonus]
    [-0.9, 0.0]
    """
    check_range("scale", scale, 0.0, 1.0)
    check_range("clip", clip, None, 0.0)
    taken = value_of_action(scaled_log_policy(q_values, temperature), action)
    return ops.stop_gradient(scale * ops.clip(taken, clip, 0.0))


def munchausen_td_error(
    q_values,
    action,
    reward,
    discount,
    target_q_values,
    next_target_q_values,
    temperature=0.03,
    scale=0.9,
    clip=-1.0,
):
    """Munchausen Q-learning's error, target minus prediction.

    The M-DQN target of section 2 of Vieillard et al. (2020),
    https://arxiv.org/abs/2007.14430: `r + munchausen_reward + discount * soft_value`.
    With `scale=0` it is soft Q-learning. Only `q_values` receives a gradient.

    Args:
        q_values: `[B, A]` float, `Q(s, .)`, in units of return.
        action: `[B]` int, the action taken in `s`.
        reward: `[B]` float, of one step.
        discount: `[B]` float, 0 where `s'` is terminal.
        target_q_values: `[B, A]` float, `Q'(s, .)` of the target network.
        next_target_q_values: `[B, A]` float, `Q'(s', .)` of the target network.
        temperature: Finite float > 0, the paper's `tau`.
        scale: Float in [0, 1], the paper's `alpha`.
        clip: Float <= 0, the paper's `l_0`.

    Returns:
        `[B]` float, target minus prediction.

    Example:
    >>> zero, one = ops.zeros([1, 2]), ops.ones([1])
    >>> error = munchausen_td_error(zero, [0], one, one, zero, zero, temperature=1.0)
    >>> round(float(error[0]), 4)
    1.0693
    """
    q_values, target_q_values, next_target_q_values = matched(
        q_values=q_values,
        target_q_values=target_q_values,
        next_target_q_values=next_target_q_values,
    )
    taken, reward, discount = matched(
        taken=value_of_action(q_values, action), reward=reward, discount=discount
    )
    bonus = munchausen_reward(target_q_values, action, temperature, scale, clip)
    target = reward + bonus + discount * soft_value(next_target_q_values, temperature)
    return ops.stop_gradient(target) - taken


def _with_temperature(q_values, temperature):
    check_range(
        "temperature", temperature, 0.0, math.inf, open_low=True, open_high=True
    )
    q_values = floats(q_values)
    return q_values, scalar(temperature, q_values)
