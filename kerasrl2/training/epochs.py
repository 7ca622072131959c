"""Epochs of shuffled minibatches inside a compiled loop."""

import tensorflow as tf

from kerasrl2.permutations import random_permutation
from kerasrl2.training.finite import find_in_metrics, is_healthy


def run_epochs(agent, batch, batch_size, problem, iteration, seed):
    """Lets an agent learn from a batch; stops early at NaN or if `agent.stops`.

    Args:
        agent: On-policy `Agent`; makes `num_epochs` passes.
        batch: `OnPolicyBatch` of `B` rows.
        batch_size: Integer that divides `B`, rows of a minibatch. Every row is in one
            minibatch of each pass.
        problem: `[4]` int32 report of `finite`; nothing is done if it names anything.
        iteration: Scalar integer, for the report.
        seed: `[2]` int32.

    Returns:
        `(sums, updates, problem)`: sums of the metrics over the gradient steps, how
        many there were, and the report.
    """
    rows, size = batch.log_prob.shape[0], batch_size
    seeds = tf.random.stateless_uniform(
        [agent.num_epochs, 2], seed, None, None, tf.int32, alg="philox"
    )

    def learn(minibatch, loop):
        sums, updates, _, _ = loop
        metrics = agent.update(minibatch)
        check_metric_names(metrics, agent)
        sums = {n: s + tf.cast(metrics[n], tf.float32) for n, s in sums.items()}
        found = find_in_metrics(metrics, iteration)
        return sums, updates + 1.0, found, agent.stops(metrics)

    def goes_on(loop):
        return is_healthy(loop[2]) & ~loop[3]

    def minibatches(order, loop):
        def step(start, loop):
            chosen = tf.slice(order, [start], [size])
            minibatch = tf.nest.map_structure(
                lambda tensor: tf.gather(tensor, chosen), batch
            )
            return start + size, learn(minibatch, loop)

        return tf.while_loop(
            lambda start, loop: (start < rows) & goes_on(loop), step, (0, loop)
        )[1]

    def epoch(e, loop):
        if size == rows:
            return e + 1, learn(batch, loop)
        return e + 1, minibatches(random_permutation(rows, seeds[e]), loop)

    sums = {name: tf.zeros([]) for name in agent.metric_names}
    _, (sums, updates, problem, _) = tf.while_loop(
        lambda e, loop: (e < agent.num_epochs) & goes_on(loop),
        epoch,
        (0, (sums, tf.zeros([]), problem, tf.constant(False))),
        parallel_iterations=1,
    )
    return dict(sums), updates, problem


def check_metric_names(metrics, agent):
    """Raises `ValueError` unless `update` returned what `metric_names` promises."""
    if set(metrics) != set(agent.metric_names):
        raise ValueError(
            f"Expected `update` of {type(agent).__name__} to return the metrics its "
            f"`metric_names` lists: {sorted(agent.metric_names)}. "
            f"Received: {sorted(metrics)}"
        )
