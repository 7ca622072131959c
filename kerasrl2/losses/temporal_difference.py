"""Temporal-difference errors of action values. One value per sample."""

from keras import ops

from kerasrl2._checks import agree
from kerasrl2.losses._inputs import (
    legal_actions,
    matched,
    refuse_other_actions,
    tensor,
)
from kerasrl2.losses.values import huber


def value_of_action(values, action):
    """The value of the action taken, for each row.

    Args:
        values: `[..., A]` float. Receives a gradient at the action taken, exactly 0
            elsewhere.
        action: `[...]` int in `[0, A)`. Outside of graphs any other is an error; inside
            of them its value is NaN and gives no gradient, under XLA too.

    Returns:
        `[...]` float.

    Raises:
        ValueError: The leading sizes differ or, outside of graphs, an action is none of
            the `A`.

    Example:
    >>> [float(q) for q in value_of_action(ops.array([[1.0, 2.0], [3.0, 4.0]]), [1, 0])]
    [2.0, 3.0]
    """
    values, given = tensor(values), tensor(action)
    if not agree(tuple(values.shape)[:-1], tuple(given.shape)) or not values.shape:
        raise ValueError(
            "Expected `values` of shape [..., A] and `action` of shape [...]. "
            f"Received: values.shape={tuple(values.shape)}, "
            f"action.shape={tuple(given.shape)}"
        )
    num_actions = values.shape[-1]
    action, legal = legal_actions(given, num_actions)
    refuse_other_actions(given, legal, num_actions)
    taken = ops.take_along_axis(values, ops.expand_dims(action, -1), axis=-1)
    return ops.where(legal, ops.squeeze(taken, axis=-1), float("nan"))


def greedy_policy(q_values):
    """Probability 1 for the first action of the largest value, 0 for the others.

    Args:
        q_values: `[B, A]` float.

    Returns:
        `[B, A]` of the same dtype. Gives no gradient.

    Example:
    >>> greedy_policy(ops.array([[1.0, 3.0, 3.0]])).numpy().tolist()
    [[0.0, 1.0, 0.0]]
    """
    q_values = tensor(q_values)
    best = ops.argmax(q_values, axis=-1)
    return ops.one_hot(best, q_values.shape[-1], dtype=q_values.dtype)


def q_learning_target(reward, discount, next_q_values, policy):
    """What `Q(s, a)` should become: `r + discount * sum_b pi(b|s') Q'(s', b)`.

    With the `greedy_policy` of `Q'` it is the target of algorithm 1 of Mnih et al.
    (2015), https://doi.org/10.1038/nature14236; with that of the online network the one
    of equation (4) of van Hasselt et al. (2016), https://arxiv.org/abs/1509.06461. The
    value of an action of probability 0 may be infinite. Gives no gradient.

    Args:
        reward: `[B]` float, in units of return.
        discount: `[B]` float, 0 where `s'` is terminal.
        next_q_values: `[B, A]` float, `Q'(s', .)`.
        policy: `[B, A]` float, probabilities of the actions in `s'`.

    Returns:
        `[B]` float.

    Example:
    >>> values = ops.array([[2.0, 5.0]])
    >>> policy = greedy_policy(values)
    >>> float(q_learning_target(ops.ones([1]), 0.5 * ops.ones([1]), values, policy)[0])
    3.5
    """
    next_q_values, policy = matched(next_q_values=next_q_values, policy=policy)
    _, reward, discount = matched(
        next_state=next_q_values[..., 0], reward=reward, discount=discount
    )
    weighted = ops.where(policy > 0.0, policy * next_q_values, 0.0)
    return ops.stop_gradient(reward + discount * ops.sum(weighted, axis=-1))


def q_learning_td_error(q_values, action, reward, discount, next_q_values):
    """Q-learning's error, `r + discount * max_b Q'(s', b) - Q(s, a)`.

    Algorithm 1 of Mnih et al. (2015), https://doi.org/10.1038/nature14236, with `Q'`
    the target network. Only `q_values` receives a gradient.

    Args:
        q_values: `[B, A]` float, `Q(s, .)`, in units of return.
        action: `[B]` int, the action taken in `s`.
        reward: `[B]` float.
        discount: `[B]` float, 0 where `s'` is terminal.
        next_q_values: `[B, A]` float, `Q'(s', .)`.

    Returns:
        `[B]` float, target minus prediction.

    Example:
    >>> zero = ops.zeros([1, 2])
    >>> reward, discount = ops.ones([1]), ops.array([0.9])
    >>> error = q_learning_td_error(zero, [0], reward, discount, zero + 5.0)
    >>> round(float(error[0]), 4)
    5.5
    """
    q_values, next_q_values = matched(q_values=q_values, next_q_values=next_q_values)
    policy = greedy_policy(next_q_values)
    target = q_learning_target(reward, discount, next_q_values, policy)
    return _td_error(q_values, action, target)


def double_q_td_error(
    q_values, action, reward, discount, next_q_values, next_target_q_values
):
    """Double Q-learning's error, `r + discount * Q'(s', argmax Q(s', .)) - Q(s, a)`.

    Equation (4) of van Hasselt et al. (2016), https://arxiv.org/abs/1509.06461, with
    the target network as the second estimator. Only `q_values` receives a gradient.

    Args:
        q_values: `[B, A]` float, `Q(s, .)`, in units of return.
        action: `[B]` int, the action taken in `s`.
        reward: `[B]` float.
        discount: `[B]` float, 0 where `s'` is terminal.
        next_q_values: `[B, A]` float, `Q(s', .)` of the online network, selects.
        next_target_q_values: `[B, A]` float, `Q'(s', .)`, evaluates.

    Returns:
        `[B]` float, target minus prediction.

    Example:
    >>> online, target = ops.array([[3.0, 1.0]]), ops.array([[2.0, 5.0]])
    >>> zero, one = ops.zeros([1, 2]), ops.ones([1])
    >>> error = double_q_td_error(zero, [0], one, 0.9 * one, online, target)
    >>> round(float(error[0]), 4)
    2.8
    """
    q_values, next_q_values, next_target_q_values = matched(
        q_values=q_values,
        next_q_values=next_q_values,
        next_target_q_values=next_target_q_values,
    )
    policy = greedy_policy(next_q_values)
    target = q_learning_target(reward, discount, next_target_q_values, policy)
    return _td_error(q_values, action, target)


def importance_weighted_td_loss(td_error, weight, delta=1.0):
    """Huber loss of a temporal-difference error times its sampling weight.

    Algorithm 1, line 13, of Schaul et al. (2016), https://arxiv.org/abs/1511.05952.
    Only `td_error` receives a gradient.

    Args:
        td_error: `[B]` float, in units of return.
        weight: `[B]` float, importance-sampling weights; ones if sampled uniformly.
        delta: Float > 0, where the loss turns linear.

    Returns:
        `[B]` float, the loss of each sample.

    Example:
    >>> error, weight = ops.array([1.0, -2.0]), ops.array([1.0, 0.5])
    >>> loss = importance_weighted_td_loss(error, weight)
    >>> [float(x) for x in loss]
    [0.5, 0.75]
    """
    td_error, weight = matched(td_error=td_error, weight=weight)
    return ops.stop_gradient(weight) * huber(td_error, delta)


def _td_error(q_values, action, target):
    taken = value_of_action(q_values, action)
    taken, target = matched(taken=taken, target=target)
    return target - taken
