"""Updates whose gradients several devices of one machine compute together."""

import tensorflow as tf

from kerasrl2.statistics import global_norm
from kerasrl2.types import Gradients


def mirrored_update(agent, strategy):
    """`agent.update`, with the rows of a batch divided among a strategy's devices.

    Each device computes the gradients of its rows; their average by the rows that count
    is that of the whole batch, to rounding, and the step is taken once. Advantages are
    normalised over the whole batch.

    What `tf.distribute.MirroredStrategy` cannot carry: programs of XLA, and an agent
    that was made under its scope. So the agent is made outside of it, with `xla=False`,
    its variables are on one device, and others read them there. That is right for any
    devices; how fast it is on GPUs was not measured.

    Args:
        agent: `Agent` with `xla=False` that learns by one gradient.
        strategy: `tf.distribute.MirroredStrategy`.

    Returns:
        `tf.function` of a batch and a `[2]` int32 seed, to the metrics, a dictionary of
        scalars. The devices must divide the rows of the batch.

    Raises:
        ValueError: The agent cannot learn so.
    """
    _check(agent)
    devices = strategy.num_replicas_in_sync

    def share(batch, moments, total, seed):
        context = tf.distribute.get_replica_context()
        number = context.replica_id_in_sync_group

        def rows(x):
            size = x.shape[0] // devices
            return tf.slice(x, [number * size] + [0] * (len(x.shape) - 1),
                            [size, *x.shape[1:]])  # fmt: skip

        part = tf.nest.map_structure(rows, batch)
        if moments is None:
            found = agent.compute_gradients(part, seed)
        else:
            found = agent.share_of_gradients(part, moments, seed)
        weight = tf.cast(agent.counting_rows(part), tf.float32) / total
        scalars = {k: v for k, v in found.metrics.items() if not len(v.shape)}
        values = [tf.convert_to_tensor(value) for value in found.values]
        return tf.nest.map_structure(
            lambda x: x * tf.cast(weight, x.dtype), (found.loss, values, scalars)
        )

    @tf.function(autograph=False)
    def update(batch, seed):
        _check_rows(batch, devices)
        total = tf.maximum(tf.cast(agent.counting_rows(batch), tf.float32), 1.0)
        moments = None
        if hasattr(agent, "share_of_gradients"):
            moments = agent.advantage_moments(batch)
        parts = strategy.run(share, args=(batch, moments, total, seed))
        loss, values, metrics = strategy.reduce(
            tf.distribute.ReduceOp.SUM, parts, axis=None
        )
        gradients = Gradients(loss, global_norm(values), values, metrics)
        return agent.apply_gradients(gradients)[0]

    return update


def _check(agent):
    if agent.xla is not False:
        raise ValueError(
            "Expected an agent with `xla=False`: a `MirroredStrategy` carries plain "
            f"graphs, not programs of XLA. Received: xla={agent.xla!r}"
        )
    if len(agent.optimizers()) > 1 or hasattr(agent, "buffer"):
        raise ValueError(
            "Expected an agent that learns by one gradient and gives back no "
            f"priorities, such as PPO or A2C. Received: {type(agent).__name__}"
        )


def _check_rows(batch, devices):
    rows = tf.nest.flatten(batch)[0].shape[0]
    if rows is None or rows % devices:
        raise ValueError(
            f"Expected a batch whose rows {devices} devices divide. Received: {rows}"
        )
