"""The on-policy loop: plays a rollout and learns from it in one function."""

import kerasrl2._startup  # noqa: F401

from functools import partial

import tensorflow as tf

from kerasrl2.training.collect import begin_episodes, collect
from kerasrl2.training.contract import OnPolicyLearner
from kerasrl2.training.episodes import count_episodes, ended_episodes, no_episodes
from kerasrl2.training.loop import CompiledLoop

_MANY = 64  # environments


class OnPolicyLoop(CompiledLoop):
    """Runs an agent that learns from each rollout once, and its environments.

    An iteration plays `T` steps in `N` environments; the agent prepares a batch of them
    and learns from it. XLA compiles whole blocks of iterations, or only learning if it
    cannot compile the environment.

    With an agent with `whole_episodes` an iteration begins an episode in each
    environment and plays until all have ended; steps after the first episode of an
    environment are not valid. After `T` steps an episode is truncated, or it is an
    error, if the agent's `cuts_episodes` is False.

    Args:
        agent: `Agent` with the members of `contract.OnPolicyLearner`.
        env: `Environment` of `N` copies.
        seed: Integer, of all random numbers of the run.
        jit_compile: `"auto"` (XLA unless the network has convolutions, where plain
            graphs are faster on CPU), True or False.

    Attributes:
        keeps_outputs: Boolean, whether a rollout keeps the networks' outputs. If the
            agent leaves it to the loop: without XLA, and with 64 environments or more.
            For fewer XLA computes those of small networks faster again, in one batch.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", num_envs=2, seed=0)
    >>> loop = OnPolicyLoop(agent, krl.envs.make("CartPole-v1", num_envs=2), seed=0)
    >>> loop.steps_per_iteration  # 5 of each environment
    10
    """

    protocol = OnPolicyLearner

    def __init__(self, agent, env, seed, jit_compile="auto"):
        super().__init__(agent, env, seed, jit_compile, agent.rollout_length)
        self.keeps_outputs = agent.keeps_outputs
        if self.keeps_outputs is None:
            self.keeps_outputs = not self.uses_xla or env.num_envs >= _MANY
        self.plays_less = agent.whole_episodes
        self._learn = self._learn_from
        if self.uses_xla and not self.compiles_environment:
            self._learn = tf.function(
                self._learn_from, jit_compile=True, autograph=False
            )
        self.start()

    def _iterate(self, carry):
        play = self._play_episodes if self.agent.whole_episodes else self._play
        seeds = self._seeds(carry.iteration)
        carry, rollout = play(carry, seeds[0])
        actor = carry.actor
        learned = self._learn(carry._replace(actor=()), rollout, seeds[1])
        return learned._replace(actor=actor)

    def _play(self, carry, seed, until=None):
        """The `Carry` and the `Rollout` after `T` steps in each environment."""
        agent, env, length = self.agent, self.env, self.vector_steps
        keep = "outputs" if self.keeps_outputs else "steps"
        kept = {"keep": keep, "keep_states": agent.keeps_states, "until": until}
        actor, rollout = collect(
            agent, env, carry.actor, length, seed, env_steps=carry.env_steps, **kept
        )
        return carry._replace(actor=actor), rollout

    def _play_episodes(self, carry, seed):
        """The same after one whole episode; those of before were truncated."""
        agent, env = self.agent, self.env
        seed, of_reset = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        begun = carry._replace(
            actor=begin_episodes(agent, env, of_reset),
            episodes=no_episodes(env.num_envs),
            learner_state=agent.initial_learner_state(env.num_envs),
        )
        carry, rollout = self._play(begun, seed, lambda n: tf.reduce_all(n > 0))
        ended = (rollout.terminated | rollout.truncated) & rollout.valid
        if not agent.cuts_episodes:
            self.guard.report_cut(~tf.reduce_any(ended, axis=0), carry.iteration)
        return carry, _first_episodes(rollout)

    def _learn_from(self, carry, rollout, seed):
        """The `Carry` after a `Rollout`, which the guard may keep from being used."""
        agent, guard = self.agent, self.guard
        guard.report_rollout(rollout, carry.iteration)
        healthy = guard.is_healthy()

        def unless_reported(new, old):
            return tf.nest.map_structure(partial(tf.where, healthy), new, old)

        ended = ended_episodes(rollout, carry.episodes) if self.tells_episodes else ()
        counted, totals = count_episodes(rollout, carry.episodes)
        batch, learner_state = agent.prepare(rollout, carry.learner_state)
        sums, updates = agent.learn_from(batch, seed)
        agent.update_statistics(rollout.observation, rollout.valid & healthy)
        sums = [tf.cast(sums[name], tf.float32) for name in self.metric_names]
        sums = tf.stack(sums) if sums else tf.zeros([0])
        played = tf.where(healthy, tf.math.count_nonzero(rollout.valid), 0)
        return carry._replace(
            iteration=carry.iteration + 1,
            env_steps=carry.env_steps + played,
            episodes=unless_reported(counted, carry.episodes),
            learner_state=learner_state,
            sums=carry.sums + tf.cast(sums, tf.float64),
            updates=carry.updates + tf.cast(updates, tf.float64),
            totals=unless_reported(carry.totals + totals, carry.totals),
            ended=ended,
        )


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
