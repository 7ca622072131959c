"""Learners of blocks that workers have played: from replay, rollouts, gradients."""

import tensorflow as tf

from kerasrl2.distributed.averaging import GradientLearner, check_averages
from kerasrl2.distributed.loop import DistributedLoop, actor_after, rollout_of
from kerasrl2.training.asynchronous import move
from kerasrl2.training.episodes import (
    count_episodes,
    ended_episodes,
    no_episodes,
    zero_totals,
)
from kerasrl2.training.metrics import reported_metrics
from kerasrl2.training.off_policy import OffPolicyLoop
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.training.worker import (
    SIGNALS,
    Contribution,
    other_names,
    shared_variables,
)
from kerasrl2.types import Rollout

_IN_PYTHON, _IN_GRAPH = 512, 2048  # transitions of a block, about


class ReplayLearner(DistributedLoop, OffPolicyLoop):
    """Learns from a replay buffer that workers fill: Ape-X, where it has priorities.

    Horgan et al. (2018), https://arxiv.org/abs/1803.00933. A block of any worker goes
    into the same `N` columns of the buffer, with the priorities of the worker's TD
    errors. Its last steps are truncated there, so that no transition begins with one
    worker and ends with another. Then the updates that are due are made: after `S` env
    steps `gradient_steps * max(0, S // (F N) - ceil(learning_starts / (F N)))` in all,
    as without workers, where `F = train_frequency`.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.DQN.for_env(
    ...     "CartPole-v1", train_frequency=4, learning_starts=100, seed=0)
    >>> learner = agent.loop_on("CartPole-v1", num_envs=1, workers=2)
    >>> isinstance(learner, ReplayLearner), learner.due(before=96, after=160)
    (True, 15)
    """

    kind = "transitions"

    def __init__(self, agent, env, seed, jit_compile="auto"):
        super().__init__(agent, env, seed, jit_compile)
        wanted = (_IN_GRAPH if env.in_graph else _IN_PYTHON) // env.num_envs
        self.vector_steps = env.workers.block or max(1, wanted)
        self.steps_per_iteration = self.vector_steps * env.num_envs

    def absorb(self, values, fields, td_error, slot):
        if self._block_program is None:
            example = values, fields, td_error
            self._block_program = self.program("store", self._stored, *example)
            due = tf.zeros([], tf.int32), values.iteration
            self._update_program = self.program("update", self._updated, *due)
        before = int(self.agent.buffer.added())
        after = self._block_program(values, fields, td_error)
        self.raise_found(values, slot)
        due = self.due(before, int(self.agent.buffer.added()))
        if due == 0:
            return after
        sums, made = self._update_program(tf.constant(due, tf.int32), values.iteration)
        return after._replace(sums=after.sums + sums, updates=after.updates + made)

    def due(self, before, after):
        """Integer, updates that are due once the buffer has got more transitions.

        Args:
            before: Integer, transitions that it had got.
            after: Integer, that it has got now.
        """
        agent = self.agent
        size = agent.train_frequency * self.env.num_envs
        none = -(-int(agent.learning_starts) // size)
        made, wanted = (max(0, added // size - none) for added in (before, after))
        return agent.gradient_steps * (wanted - made)

    def _stored(self, values, fields, td_error):
        agent, guard, rollout = self.agent, self.guard, rollout_of(fields)
        guard.report_rollout(rollout, values.iteration)
        valid = rollout.valid & guard.is_healthy()
        rollout = rollout._replace(valid=valid)
        last = tf.one_hot(self.vector_steps - 1, self.vector_steps, True, False)
        cut = rollout._replace(truncated=rollout.truncated | last[:, None])
        known = [] if isinstance(td_error, tuple) else [td_error]
        self._store(agent.stored(cut), *known)
        told = self.tells_episodes
        ended = ended_episodes(rollout, values.episodes) if told else ()
        episodes, totals = count_episodes(rollout, values.episodes)
        agent.update_statistics(rollout.observation, valid)
        env_steps = values.env_steps + tf.math.count_nonzero(valid)
        agent.env_steps.assign(env_steps)
        return values._replace(
            iteration=values.iteration + 1,
            env_steps=env_steps,
            actor=actor_after(rollout),
            episodes=episodes,
            totals=values.totals + totals,
            ended=ended,
        )

    def _updated(self, due, iteration):
        return self.updates(due, self._seeds(iteration)[1])


class RolloutLearner(DistributedLoop, OnPolicyLoop):
    """Learns from the rollouts of all workers together, played with the same weights.

    The policy that learns is the one that has acted: synchronous A2C, PPO (DPPO), TRPO,
    REINFORCE. `W` workers of `N` environments are one loop of `W N`.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> learner = agent.loop_on("CartPole-v1", num_envs=4, workers=2)
    >>> isinstance(learner, RolloutLearner), learner.env.num_envs
    (True, 8)
    """

    joined = True

    def absorb(self, values, fields, td_error, slot):
        if self._block_program is None:
            self._block_program = self.program("learn", self._learned, values, fields)
        return self._block_program(values, fields)

    def _learned(self, values, fields):
        agent, rollout = self.agent, rollout_of(fields)
        if agent.whole_episodes:  # a rollout begins with them
            columns = self.env.num_envs
            state = agent.initial_learner_state(columns)
            episodes = no_episodes(columns)
            values = values._replace(episodes=episodes, learner_state=state)
        seed = self._seeds(values.iteration)[1]
        values = self._learn_from(values._replace(actor=()), rollout, seed)
        agent.env_steps.assign(values.env_steps)
        return values._replace(actor=actor_after(rollout))


class StaleRolloutLearner(RolloutLearner):
    """Learns from one worker's rollout at a time, of an older policy: IMPALA.

    Espeholt et al. (2018), https://arxiv.org/abs/1802.01561. For agents with `vtrace`,
    which correct for the difference.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.IMPALA.for_env("CartPole-v1", seed=0)
    >>> learner = agent.loop_on("CartPole-v1", num_envs=4, workers=2)
    >>> isinstance(learner, StaleRolloutLearner), learner.env.num_envs
    (True, 4)
    """

    joined = False


class GradientServer(DistributedLoop, OnPolicyLoop):
    """A parameter server: workers send gradients, whatever the weights are by now.

    Mnih et al. (2016), https://arxiv.org/abs/1602.01783, over processes. Weights,
    optimizer and running statistics are here and only here: each push is one step, and
    a worker that comes late gets them as they are.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A3C.for_env("CartPole-v1", seed=0)
    >>> learner = agent.loop_on("CartPole-v1", num_envs=4, workers=2)
    >>> isinstance(learner, GradientServer), learner.kind
    (True, 'contributions')
    """

    kind = "contributions"

    def start(self):
        super().start()
        shared = shared_variables(self.agent)
        self._others = [shared[name] for name in other_names(self.agent, shared)]

    def rest_of_players(self):
        columns, agent = self.env.num_envs, self.agent
        state = agent.initial_learner_state(columns)
        return no_episodes(columns), state, zero_totals()

    def absorb(self, values, fields, td_error, slot):
        if self._block_program is None:
            self._block_program = self.program("push", self._pushed, values, fields)
        return self._block_program(values, fields)

    def _pushed(self, values, fields):
        """One step with a `Contribution`, and statistics of its rollout."""
        agent, guard = self.agent, self.guard
        given = Contribution(**fields)
        guard.report(given.problem)
        signals = dict(zip(SIGNALS, given.signals, strict=True))
        rollout = Rollout(given.observation, None, **signals)
        guard.note_rewards(rollout, given.iteration)
        healthy = guard.is_healthy()
        self._move_others(given, healthy)
        agent.take_in(rollout, given.learner_state, rollout.valid & healthy)
        metrics, _ = agent.apply_gradients(given.gradients)
        new = {**reported_metrics(metrics, agent), **given.metrics}
        new = [tf.cast(new[name], tf.float32) for name in self.metric_names]
        told = self.tells_episodes
        ended = ended_episodes(rollout, values.episodes) if told else ()
        episodes, totals = count_episodes(rollout, values.episodes)
        played = tf.where(healthy, given.played[0], 0)
        agent.env_steps.assign(values.env_steps + played)
        return values._replace(
            iteration=values.iteration + 1,
            env_steps=values.env_steps + played,
            episodes=episodes,
            sums=values.sums + tf.cast(tf.stack(new), tf.float64),
            updates=values.updates + 1.0,
            totals=values.totals + tf.where(healthy, totals, 0.0),
            ended=ended,
        )

    def _move_others(self, given, healthy):
        pairs = zip(self._others, given.before, given.after, strict=True)
        for variable, old, new in pairs:
            move(variable, old, new, healthy)


def learner_of(agent, workers):
    """The class that feeds an agent from workers, by the loop it has without.

    Args:
        agent: `Agent`.
        workers: `Workers`.
    """
    loop = agent.loop_class
    if workers.average_gradients:
        check_averages(agent)
        return GradientLearner
    if issubclass(loop, OffPolicyLoop):
        return ReplayLearner
    if issubclass(loop, OnPolicyLoop):
        stale = getattr(agent, "vtrace", False)
        return StaleRolloutLearner if stale else RolloutLearner
    if hasattr(agent, "contribute"):
        return GradientServer
    raise ValueError(
        "Expected an agent of a replay buffer, of rollouts, or of gradients, with "
        f"`workers`. Received: {type(agent).__name__}, whose loop is {loop.__name__}. "
        "Leave `workers` out."
    )
