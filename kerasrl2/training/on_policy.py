"""The on-policy loop: plays a rollout and learns from it in one function."""

import kerasrl2._startup  # noqa: F401

from functools import partial

import tensorflow as tf

from kerasrl2.training.collect import begin_episodes, collect
from kerasrl2.training.contract import OnPolicyLearner
from kerasrl2.training.episodes import count_episodes, no_episodes
from kerasrl2.training.finite import find_in_rollout
from kerasrl2.training.loop import CompiledLoop


class OnPolicyLoop(CompiledLoop):
    """Runs an agent that learns from each rollout once, and its environments.

    An iteration plays `T` steps in `N` environments; the agent prepares a batch of them
    and learns from it. XLA compiles whole blocks of iterations, or only learning if it
    cannot compile the environment.

    With an agent with `whole_episodes` an iteration begins an episode in each
    environment and plays until all have ended; steps after the first episode of an
    environment are not valid. After `T` steps an episode is truncated.

    Args:
        agent: `Agent` with the members of `contract.OnPolicyLearner`.
        env: `Environment` of `N` copies.
        seed: Integer, of all random numbers of the run.
        jit_compile: `"auto"` (XLA unless the network has convolutions, where plain
            graphs are faster on CPU), True or False.

    Attributes:
        keeps_outputs: Boolean, whether a rollout keeps the networks' outputs. If the
            agent leaves it to the loop: only without XLA. With XLA it is faster to
            compute those of small networks again, in one large batch.
    """

    protocol = OnPolicyLearner

    def __init__(self, agent, env, seed, jit_compile="auto"):
        super().__init__(agent, env, seed, jit_compile, agent.rollout_length)
        self.keeps_outputs = agent.keeps_outputs
        if self.keeps_outputs is None:
            self.keeps_outputs = not self.uses_xla
        self.plays_less = agent.whole_episodes
        self._learn = self._learn_from
        if self.uses_xla and not self.compiles_environment:
            self._learn = tf.function(
                self._learn_from, jit_compile=True, autograph=False
            )
        self.start()

    def _iterate(self, carry):
        if self.agent.whole_episodes:  # unfinished ones were truncated
            carry = carry._replace(
                episodes=no_episodes(self.env.num_envs),
                learner_state=self.agent.initial_learner_state(self.env.num_envs),
            )
        seeds = self._seeds(carry.iteration)
        actor, rollout = self._play(carry, seeds[0])
        episodes, learner_state, sums, updates, totals, played = self._learn(
            rollout, carry.episodes, carry.learner_state, carry.iteration, seeds[1]
        )
        return carry._replace(
            iteration=carry.iteration + 1,
            env_steps=carry.env_steps + played,
            actor=actor,
            episodes=episodes,
            learner_state=learner_state,
            sums=carry.sums + tf.cast(sums, tf.float64),
            updates=carry.updates + tf.cast(updates, tf.float64),
            totals=carry.totals + totals,
        )

    def _play(self, carry, seed):
        agent, env, actor, until = self.agent, self.env, carry.actor, None
        if agent.whole_episodes:
            seed, of_reset = tf.unstack(tf.random.split(seed, 2, alg="philox"))
            actor = begin_episodes(agent, env, of_reset)

            def until(ended):
                return tf.reduce_all(ended > 0)

        actor, rollout = collect(
            agent,
            env,
            actor,
            self.vector_steps,
            seed,
            env_steps=carry.env_steps,
            keep="outputs" if self.keeps_outputs else "steps",
            until=until,
        )
        return actor, _first_episodes(rollout) if agent.whole_episodes else rollout

    def _learn_from(self, rollout, episodes, learner_state, iteration, seed):
        """Learns from a `Rollout`, unless the guard has a report."""
        agent, guard = self.agent, self.guard
        problem, _ = find_in_rollout(rollout, iteration)
        guard.report(problem)
        healthy = guard.is_healthy()

        def unless_reported(new, old):
            return tf.nest.map_structure(partial(tf.where, healthy), new, old)

        counted, totals = count_episodes(rollout, episodes)
        episodes = unless_reported(counted, episodes)
        totals = unless_reported(totals, tf.zeros_like(totals))
        batch, learner_state = agent.prepare(rollout, learner_state)
        sums, updates = agent.learn(batch, seed)
        agent.update_statistics(rollout.observation, rollout.valid & healthy)
        sums = tf.stack([tf.cast(sums[name], tf.float32) for name in self.metric_names])
        played = tf.where(healthy, tf.math.count_nonzero(rollout.valid), 0)
        return episodes, learner_state, sums, updates, totals, played


def _first_episodes(rollout):
    """A `Rollout` in which only the first episode of each environment is valid.

    An episode that has not ended at the last step is truncated there.
    """
    ended = (rollout.terminated | rollout.truncated) & rollout.valid
    before = tf.cumsum(tf.cast(ended, tf.int32), axis=0, exclusive=True)
    valid = rollout.valid & tf.equal(before, 0)
    last = tf.one_hot(valid.shape[0] - 1, valid.shape[0], True, False)
    truncated = rollout.truncated | (last[:, None] & valid & ~rollout.terminated)
    return rollout._replace(valid=valid, truncated=truncated)
