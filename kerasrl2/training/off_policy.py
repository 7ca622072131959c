"""The off-policy loop: plays, learns from replay and stores in one function."""

import kerasrl2._startup  # noqa: F401

import tensorflow as tf

from kerasrl2._control import call_if
from kerasrl2.training.collect import collect
from kerasrl2.training.contract import OffPolicyLearner, check_contract
from kerasrl2.training.episodes import count_episodes, ended_episodes
from kerasrl2.training.loop import CompiledLoop
from kerasrl2.training.metrics import reported_metrics


class OffPolicyLoop(CompiledLoop):
    """Runs an agent with a replay buffer and its environments in one function.

    An iteration plays `F = train_frequency` steps in each of `N` environments, makes
    `gradient_steps` updates, each with a new batch from the buffer as it was before
    these steps, and then stores the steps. In this order XLA need not copy the buffer,
    and a plain graph can compute gradients while the games are played. Updates begin
    once the buffer has received `learning_starts` transitions: `S` env steps from an
    empty buffer on make exactly
    `gradient_steps * max(0, S // (F N) - ceil(learning_starts / (F N)))` of them.

    Args:
        agent: `Agent` with the members of `contract.OffPolicyLearner`.
        env: `Environment` of `N` copies.
        seed: Integer, of all random numbers of the run.
        jit_compile: `"auto"` (XLA unless the network has convolutions, where plain
            graphs are faster on CPU), True or False.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.DQN.for_env("CartPole-v1", train_frequency=4, seed=0)
    >>> loop = agent.loop_on("CartPole-v1")
    >>> isinstance(loop, OffPolicyLoop), loop.steps_per_iteration
    (True, 4)
    """

    protocol = OffPolicyLearner

    def __init__(self, agent, env, seed, jit_compile="auto"):
        check_contract(agent, self.protocol)
        if hasattr(agent.buffer, "use_goals_of"):
            agent.buffer.use_goals_of(env)
        super().__init__(agent, env, seed, jit_compile, agent.train_frequency)
        self._compile_parts(jit_compile is not False)
        if hasattr(agent.buffer, "set_training_length"):
            self.plan_variables = [tf.Variable(False, trainable=False, name="planned")]
        self.start()

    def compilable(self):
        return super().compilable() and getattr(self.agent.buffer, "compilable", True)

    def start(self):
        super().start()
        observation = self.carry.actor.observation
        self.agent.buffer.build(
            tf.nest.map_structure(
                lambda leaf: tf.TensorSpec(leaf.shape[1:], leaf.dtype), observation
            ),
            self.agent.stored_action,
            self.env.num_envs,
        )

    def plan(self, env_steps):
        """Sets the length of a buffer's schedules: the updates of the first `fit`.

        At its end beta is 1, and it stays 1 in a second `fit`.
        """
        if not self.plan_variables or bool(self.plan_variables[0]):
            return
        self.plan_variables[0].assign(True)
        agent = self.agent
        size = agent.train_frequency * self.env.num_envs
        missing = int(agent.learning_starts) - int(agent.buffer.added())
        iterations = -(-env_steps // size) - max(0, -(-missing // size))
        planned = max(1, iterations) * agent.gradient_steps
        agent.buffer.set_training_length(planned)

    def _compile_parts(self, allowed):
        """Chooses the parts that XLA compiles if it does not compile the whole loop.

        Buffers always gain: op by op they take a millisecond.
        """

        def part(function):
            if self.compiles_environment or not allowed:
                return function
            return tf.function(function, jit_compile=True, autograph=False)

        buffer = self.agent.buffer
        self._store = part(buffer.add_rollout)
        compilable = getattr(buffer, "compilable", True)
        draw = self.agent.replayed
        self._sample = part(draw) if compilable else draw
        prioritized = hasattr(buffer, "update_priorities")
        self._prioritize = part(buffer.update_priorities) if prioritized else None

    def _iterate(self, carry):
        agent, guard = self.agent, self.guard
        seeds = self._seeds(carry.iteration)
        ready = agent.buffer.added() >= agent.learning_starts
        computed = self._compute_first(ready, seeds[1])
        actor, rollout = collect(
            agent,
            self.env,
            carry.actor,
            self.vector_steps,
            seeds[0],
            env_steps=carry.env_steps
            + self.env.num_envs * tf.range(self.vector_steps, dtype=tf.int64),
            keep_states=agent.keeps_states,
        )
        guard.report_rollout(rollout, carry.iteration)
        sums, updates = self._learn(ready, seeds[1], computed)
        valid = rollout.valid & guard.is_healthy()
        rollout = rollout._replace(valid=valid)
        self._store(agent.stored(rollout))
        ended = ended_episodes(rollout, carry.episodes) if self.tells_episodes else ()
        episodes, totals = count_episodes(rollout, carry.episodes)
        agent.update_statistics(rollout.observation, valid)
        return carry._replace(
            iteration=carry.iteration + 1,
            env_steps=carry.env_steps + tf.math.count_nonzero(valid),
            actor=actor,
            episodes=episodes,
            sums=carry.sums + sums,
            updates=carry.updates + updates,
            totals=carry.totals + totals,
            ended=ended,
        )

    def _compute_first(self, ready, seed):
        """`(index, gradients)` of the only update, computed while the games are played.

        They do not depend on these steps, so that a plain graph computes both
        concurrently. None if an update is not split into gradients and step, or if XLA
        compiles the whole loop, which runs sequentially.
        """
        agent = self.agent
        halves = getattr(agent, "updates_in_halves", False)
        if self.compiles_environment or not halves or agent.gradient_steps > 1:
            return None
        index, batch = call_if(ready, lambda: self._sample(seed)) or (None, None)
        gradients = call_if(ready, lambda: agent.compute_gradients(batch, seed))
        return index, gradients

    def _learn(self, ready, seed, computed):
        """Makes `gradient_steps` updates if the buffer is `ready`."""
        steps = tf.where(ready, self.agent.gradient_steps, 0)
        return self.updates(steps, seed, computed)

    def updates(self, steps, seed, computed=None):
        """Makes `steps` updates; returns sums of metrics, and how many they were.

        Args:
            steps: Scalar int32.
            seed: `[2]` int32.
            computed: `(index, gradients)` of the only one, or None.
        """
        agent, guard = self.agent, self.guard

        def learn(g, sums):
            if computed is None:
                seeds = seed + tf.stack([0, g])
                index, batch = self._sample(seeds)
                metrics, td_error = agent.update(batch, seeds)
            else:
                index, gradients = computed
                metrics, td_error = agent.apply_gradients(gradients)
            new = reported_metrics(metrics, agent)
            if self._prioritize is not None and td_error is not None:
                self._prioritize(index, td_error)
            values = [new[name] for name in self.metric_names]
            return g + 1, sums + tf.cast(tf.stack(values), tf.float64)

        made, sums = tf.while_loop(
            lambda g, sums: (g < steps) & guard.is_healthy(),
            learn,
            (0, tf.zeros([len(self.metric_names)], tf.float64)),
            parallel_iterations=1,
        )
        return sums, tf.cast(made, tf.float64)
