"""Epochs of shuffled minibatches inside a compiled loop."""

import tensorflow as tf

from kerasrl2.permutations import random_permutation


def run_epochs(agent, batch, num_epochs, batch_size, seed):
    """Updates an agent with minibatches of a batch, in several passes.

    Ends early if `agent.guard` has a report or `agent.should_stop` returns True.

    Args:
        agent: On-policy `Agent`.
        batch: Nest of tensors `[rows, ...]`.
        num_epochs: Integer, number of passes, each in a new random order.
        batch_size: Integer, rows per minibatch; must divide `rows`. Every row is in one
            minibatch of each pass.
        seed: `[2]` int32.

    Returns:
        `(sums, updates)`: dictionary of metrics summed over updates, and the number of
        updates.
    """
    rows = tf.nest.flatten(batch)[0].shape[0]
    seeds = tf.random.stateless_uniform(
        [num_epochs, 2, 2], seed, None, None, tf.int32, alg="philox"
    )

    def learn(minibatch, seed, loop):
        sums, updates, _ = loop
        metrics, _ = agent.update(minibatch, seed)
        new = named_sums(metrics, agent)
        agent.guard.report_metrics(metrics)
        sums = {name: total + new[name] for name, total in sums.items()}
        return sums, updates + 1.0, agent.should_stop(metrics)

    def goes_on(loop):
        return agent.guard.is_healthy() & ~loop[2]

    def minibatches(order, seed, loop):
        def step(start, loop):
            chosen = tf.slice(order, [start], [batch_size])
            minibatch = tf.nest.map_structure(
                lambda tensor: tf.gather(tensor, chosen), batch
            )
            loop = learn(minibatch, seed + tf.stack([0, start]), loop)
            return start + batch_size, loop

        return tf.while_loop(
            lambda start, loop: (start < rows) & goes_on(loop), step, (0, loop)
        )[1]

    def epoch(e, loop):
        if batch_size == rows:
            return e + 1, learn(batch, seeds[e, 1], loop)
        order = random_permutation(rows, seeds[e, 0])
        return e + 1, minibatches(order, seeds[e, 1], loop)

    sums = {name: tf.zeros([]) for name in agent.metric_names}
    _, (sums, updates, _) = tf.while_loop(
        lambda e, loop: (e < num_epochs) & goes_on(loop),
        epoch,
        (0, (sums, tf.zeros([]), tf.constant(False))),
        parallel_iterations=1,
    )
    return dict(sums), updates


def named_sums(metrics, agent):
    """Metrics of one update as float32 scalars.

    Raises:
        ValueError: They are not the scalars that `metric_names` lists.
    """
    if set(metrics) != set(agent.metric_names):
        raise ValueError(
            f"Expected `update` of {type(agent).__name__} to return the metrics its "
            f"`metric_names` lists: {sorted(agent.metric_names)}. "
            f"Received: {sorted(metrics)}"
        )
    for name, value in metrics.items():
        if tf.convert_to_tensor(value).shape.rank:
            raise ValueError(
                f"Expected metrics of {type(agent).__name__} to be scalars. Received: "
                f"`{name}` of shape {tuple(value.shape)}"
            )
    return {name: tf.cast(value, tf.float32) for name, value in metrics.items()}
