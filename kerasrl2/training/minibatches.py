"""Epochs of shuffled minibatches inside a compiled loop."""

import tensorflow as tf

from kerasrl2.permutations import random_permutation
from kerasrl2.training.metrics import reported_metrics, update_names


def run_epochs(agent, batch, num_epochs, batch_size, seed, skipped=False):
    """Updates an agent with minibatches of a batch, in several passes.

    Ends early if `agent.guard` has a report or `agent.should_stop` returns True.

    Args:
        agent: On-policy `Agent`.
        batch: Nest of tensors `[rows, ...]`.
        num_epochs: Integer, number of passes, each in a new random order.
        batch_size: Integer, rows per minibatch; must divide `rows`. Every row is in one
            minibatch of each pass.
        seed: `[2]` int32.
        skipped: Boolean or scalar bool tensor, whether to make no update at all.

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
        new = reported_metrics(metrics, agent)
        sums = {name: total + new[name] for name, total in sums.items()}
        return sums, updates + 1.0, agent.should_stop(metrics)

    def goes_on(loop):
        return agent.guard.is_healthy() & ~loop[2]

    def epoch(e, loop):
        if batch_size == rows:
            return e + 1, learn(batch, seeds[e, 1], loop)
        order, seed = random_permutation(rows, seeds[e, 0]), seeds[e, 1]

        def step(start, loop):
            chosen = tf.slice(order, [start], [batch_size])
            minibatch = tf.nest.map_structure(lambda x: tf.gather(x, chosen), batch)
            loop = learn(minibatch, seed + tf.stack([0, start]), loop)
            return start + batch_size, loop

        return e + 1, tf.while_loop(
            lambda start, loop: (start < rows) & goes_on(loop), step, (0, loop)
        )[1]

    sums = {name: tf.zeros([]) for name in update_names(agent)}
    _, (sums, updates, _) = tf.while_loop(
        lambda e, loop: (e < num_epochs) & goes_on(loop),
        epoch,
        (0, (sums, tf.zeros([]), tf.convert_to_tensor(skipped))),
        parallel_iterations=1,
    )
    return dict(sums), updates
