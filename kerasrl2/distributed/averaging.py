"""Averaged gradients, the learner's side: one step with all workers' shares."""

import numpy as np
import tensorflow as tf

from kerasrl2.distributed.loop import DistributedLoop
from kerasrl2.distributed.shares import SIGNALS, share_of
from kerasrl2.statistics import explained_variance, global_norm
from kerasrl2.training.episodes import count_episodes, ended_episodes
from kerasrl2.training.metrics import reported_metrics
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.types import Gradients, Rollout


class GradientLearner(DistributedLoop, OnPolicyLoop):
    """Averages the gradients of minibatches that workers have shares of.

    Rollouts stay where they were played. For each minibatch every worker computes the
    gradients of its share; their average by rows is the gradient of the whole, with a
    norm of its own. Advantages are normalised by the moments of the whole: each worker
    sends number, sum and sum of squares of its shares once a rollout.

    It pays where gradients take long: a step costs a message to each worker and back.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.PPO.for_env("CartPole-v1", seed=0)
    >>> workers = krl.distributed.Workers(2, average_gradients=True)
    >>> isinstance(agent.loop_on("CartPole-v1", workers=workers), GradientLearner)
    True
    """

    kind, joined = "shares", True

    def __init__(self, agent, env, seed, jit_compile="auto"):
        super().__init__(agent, env, seed, jit_compile)
        workers, rows = env.workers.count, env.local.num_envs * agent.rollout_length
        self._size = share_of(agent.batch_size, rows, workers)
        self._starts = range(0, rows, self._size)

    def absorb(self, values, fields, td_error, slot):
        if self._block_program is None:
            self._block_program = self.program("count", self._counted, values, fields)
            self._step_program = self._statistics_program = None
        before = values
        values = self._block_program(values, fields)
        self.raise_found(values, slot)
        moments = fields["moments"].numpy()  # [E, J, 3 W]: side by side
        moments = moments.reshape([*moments.shape[:-1], -1, 3]).sum(axis=-2)
        sums, updates, stop = values.sums, 0.0, False
        for epoch in range(self.agent.num_epochs):
            for number, start in enumerate(self._starts):
                if stop:
                    break
                self._broadcast(now=True)
                given = self._gather((epoch, start), moments[epoch, number])
                sums, stop = self._step(given, sums)
                self.raise_found(before, slot)
                updates += 1.0
        self._update_statistics(fields)
        explained = self._explained(fields) * updates
        place = self.metric_names.index("explained_variance")
        sums += tf.one_hot(place, len(self.metric_names), explained, dtype=tf.float64)
        return values._replace(sums=sums, updates=values.updates + updates)

    def _gather(self, place, moments):
        """Answers of all workers, stacked."""
        numbers = []
        for slot in range(self.env.workers.count):
            numbers.append(next(self._numbers))
            arguments = self._ref, place, moments
            self.pool.submit(slot, numbers[-1], "gradients", *arguments)
        answers = [self.pool.take(number).value for number in numbers]
        return tf.nest.map_structure(lambda *x: tf.constant(np.stack(x)), *answers)

    def _step(self, given, sums):
        if self._step_program is None:
            self._step_program = self.program("step", self._stepped, given, sums)
        sums, stop = self._step_program(given, sums)
        return sums, bool(stop)

    def _stepped(self, given, sums):
        agent = self.agent
        gradients = averaged(given, next(iter(agent.optimizers().values()))[1])
        metrics, _ = agent.apply_gradients(gradients)
        new = reported_metrics(metrics, agent)
        new = {"explained_variance": tf.zeros([]), **new}
        new = [tf.cast(new[name], tf.float64) for name in self.metric_names]
        return sums + tf.stack(new), agent.should_stop(metrics)

    def _counted(self, values, fields):
        agent, guard = self.agent, self.guard
        signals = {name: fields[name] for name in SIGNALS}
        rollout = Rollout(fields.get("observation"), None, **signals)
        guard.note_rewards(rollout, values.iteration)
        told = self.tells_episodes
        ended = ended_episodes(rollout, values.episodes) if told else ()
        episodes, totals = count_episodes(rollout, values.episodes)
        env_steps = values.env_steps + tf.math.count_nonzero(rollout.valid)
        agent.env_steps.assign(env_steps)
        return values._replace(
            iteration=values.iteration + 1,
            env_steps=env_steps,
            episodes=episodes,
            totals=values.totals + totals,
            ended=ended,
        )

    def _update_statistics(self, fields):
        """After learning, as everywhere: what was learned was seen through the old."""
        if self.agent.observation_normalizer is None:
            return
        given = fields["observation"], fields["valid"]
        if self._statistics_program is None:

            def update(observation, valid):
                self.agent.update_statistics(observation, valid)
                return tf.zeros([])

            self._statistics_program = self.program("statistics", update, *given)
        self._statistics_program(*given)

    def _explained(self, fields):
        value, target = (fields[f"{name}_of_row"] for name in ("value", "target"))
        valid = tf.ones_like(value, tf.bool)
        return tf.cast(explained_variance(value, target, valid), tf.float64)


def averaged(given, variables):
    """`types.Gradients` of a minibatch from those of its shares.

    Args:
        given: Dictionary of stacked answers of `SharePlayer.gradients`.
        variables: List of Keras variables.
    """
    share = given["count"] / tf.maximum(tf.reduce_sum(given["count"]), 1.0)

    def mean(x):
        weights = tf.reshape(share, [-1] + [1] * (len(x.shape) - 1))
        return tf.reduce_sum(weights * tf.cast(x, tf.float32), axis=0)

    sizes = [v.shape.num_elements() if hasattr(v.shape, "num_elements") else
             int(np.prod(v.shape)) for v in variables]  # fmt: skip
    parts = tf.split(mean(given["gradient"]), sizes)
    values = [
        tf.cast(tf.reshape(part, v.shape), v.value.dtype)
        for part, v in zip(parts, variables, strict=True)
    ]
    metrics = {name: mean(x) for name, x in given["metrics"].items()}
    return Gradients(mean(given["loss"]), global_norm(values), values, metrics)


def check_averages(agent):
    """Raises `ValueError` for what cannot be had by averaging gradients."""
    excluded = {
        "a replay buffer": hasattr(agent, "buffer"),
        "`normalize_rewards`": getattr(agent, "reward_scaling", None) is not None,
        "`intrinsic_reward`": getattr(agent, "intrinsic_reward", None) is not None,
        "`kl_coefficient`": getattr(agent, "needs_parameters", False),
        "`vtrace`": getattr(agent, "vtrace", False),
        "several optimizers": len(agent.optimizers()) > 1,
        "a policy that remembers": getattr(agent, "remembers", False),
        "an `update` or `learn_from` of its own": not (
            hasattr(agent, "share_of_gradients") and agent.learns_by_minibatches()
        ),
    }
    found = [name for name, is_there in excluded.items() if is_there]
    if found:
        raise ValueError(
            "Expected an agent like PPO or A2C, whose step is one gradient, with "
            f"`average_gradients=True`. Received: {type(agent).__name__} with "
            f"{', '.join(found)}. Leave `average_gradients` out: then rollouts are "
            "sent, and one process learns from all of them."
        )
