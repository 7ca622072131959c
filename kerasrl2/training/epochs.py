"""Epochs of shuffled minibatches inside a compiled loop."""

import tensorflow as tf

from kerasrl2.permutations import random_permutation
from kerasrl2.training.finite import find_in_metrics, is_healthy


def run_epochs(agent, batch, batch_size, problem, iteration, seed):
    """Lets an agent learn from a batch; stops early at NaN or if `agent.stops`.

    Args:
        agent: On-policy `Agent`; makes `epochs` passes.
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
        [agent.epochs, 2], seed, None, None, tf.int32, alg="philox"
    )

    def learn(minibatch, loop):
        sums, updates, _, _ = loop
        metrics = agent.update(minibatch)
        check_metric_names(metrics, agent)
        sums = {name: sums[name] + metrics[name] for name in sums}
        found = find_in_metrics(metrics, iteration)
        return sums, updates + 1.0, found, agent.stops(metrics)

    def goes_on(loop):
        return is_healthy(loop[2]) & ~loop[3]

    def minibatches(shuffled, loop):
        def step(start, loop):
            rows_of = tf.nest.map_structure(
                lambda tensor: take_rows(tensor, start, size), shuffled
            )
            return start + size, learn(rows_of, loop)

        return tf.while_loop(
            lambda start, loop: (start < rows) & goes_on(loop), step, (0, loop)
        )[1]

    def epoch(e, loop):
        if size == rows:
            return e + 1, learn(batch, loop)
        order = random_permutation(rows, seeds[e])
        shuffled = tf.nest.map_structure(lambda tensor: tf.gather(tensor, order), batch)
        return e + 1, minibatches(shuffled, loop)

    sums = {name: tf.zeros([]) for name in agent.metric_names}
    _, (sums, updates, problem, _) = tf.while_loop(
        lambda e, loop: (e < agent.epochs) & goes_on(loop),
        epoch,
        (0, (sums, tf.zeros([]), problem, tf.constant(False))),
        parallel_iterations=1,
    )
    return dict(sums), updates, problem


def take_rows(tensor, start, size):
    """`tensor[start : start + size]` with a static number of rows."""
    rest = [0] * (tensor.shape.rank - 1)
    return tf.slice(tensor, [start, *rest], [size, *tensor.shape[1:]])


def check_metric_names(metrics, agent):
    """Raises `ValueError` unless `update` returned what `metric_names` promises."""
    if set(metrics) != set(agent.metric_names):
        raise ValueError(
            f"Expected `update` of {type(agent).__name__} to return the metrics its "
            f"`metric_names` lists: {sorted(agent.metric_names)}. "
            f"Received: {sorted(metrics)}"
        )
