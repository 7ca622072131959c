"""Metrics of an update: that they are those the agent announces, as scalars."""

import contextlib

import tensorflow as tf

_OPTIONAL = ("regularization",)  # where the networks have losses of their own


def update_names(agent):
    """Names of the metrics of an update: `metric_names`, and what networks add."""
    more = (name for name in _OPTIONAL if name in agent.report_names)
    return tuple(dict.fromkeys((*agent.metric_names, *more)))


def reported_metrics(metrics, agent):
    """`checked_metrics` of one update, of which the agent's guard is told as well."""
    named = checked_metrics(metrics, agent)
    agent.guard.report_metrics(metrics)
    return named


def checked_metrics(metrics, agent):
    """Metrics of one update as float32 scalars, by the names of `update_names`.

    Raises:
        ValueError: They are not the scalars that `metric_names` lists.
    """
    owner, wanted = type(agent).__name__, update_names(agent)
    if not isinstance(metrics, dict) or {*metrics, *_OPTIONAL} != {*wanted, *_OPTIONAL}:
        received = sorted(metrics) if isinstance(metrics, dict) else repr(metrics)[:80]
        raise ValueError(
            f"Expected `update` of {owner} to return the metrics its `metric_names` "
            f"lists: {sorted(agent.metric_names)}. Received: {received}"
        )
    none = float("nan")  # `update` left it out
    return checked_scalars({name: metrics.get(name, none) for name in wanted}, owner)


def checked_scalars(metrics, owner):
    """Metrics as float32 scalars.

    Args:
        metrics: Dictionary of names to numbers or tensors.
        owner: String, the agent's class, for the message.

    Raises:
        ValueError: One of them is no number, or several.
    """
    sums = {}
    for name, value in metrics.items():
        with contextlib.suppress(TypeError, ValueError):
            value = tf.convert_to_tensor(value)
        is_number = isinstance(value, tf.Tensor) and value.dtype != tf.string
        if not is_number:
            raise ValueError(
                f"Expected metrics of {owner} to be scalars. Received: `{name}` = "
                f"{metrics[name]!r:.60}, which is no number."
            )
        sums[name] = tf.cast(value, tf.float32)
        if sums[name].shape.rank:
            raise ValueError(
                f"Expected metrics of {owner} to be scalars. Received: `{name}` of "
                f"shape {tuple(sums[name].shape)}. Reduce it, for instance by "
                "`tf.reduce_mean`."
            )
    return sums
