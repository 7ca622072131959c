"""The off-policy loop: step, store, replay, learn, as one compiled function."""

import kerasrl2._startup  # noqa: F401

from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._control import call_if
from kerasrl2.training.episodes import (
    RunningEpisodes,
    count_step,
    no_episodes,
)
from kerasrl2.training.epochs import check_metric_names
from kerasrl2.training.finite import (
    find_in_metrics,
    find_in_step,
    is_healthy,
)
from kerasrl2.training.loop import CompiledLoop


class LoopState(NamedTuple):
    """What a step hands to the next.

    Attributes:
        iteration: Scalar int64, iterations made so far.
        env_steps: Scalar int64, env steps of the agent so far, those of earlier loops
            included: what exploration schedules are over.
        env_state: Nest of tensors, the environments' own state.
        observation: `[N, ...]`, what to act on next.
        env_action: `[N, ...]`, what to play there, as the environment takes it.
        action: The same in the policy's own coordinates, which the buffer stores.
        running: `RunningEpisodes`, episodes under way.
    """

    iteration: Any
    env_steps: Any
    env_state: Any
    observation: Any
    env_action: Any
    action: Any
    running: RunningEpisodes


class Prepared(NamedTuple):
    """An update whose gradients are known before it is made.

    Attributes:
        ready: Scalar bool, whether there was enough to learn from; else the rest is 0.
        index: `[B]` int64, of the transitions in the buffer.
        gradients: `types.Gradients`.
    """

    ready: Any
    index: Any
    gradients: Any


class OffPolicyLoop(CompiledLoop):
    """Runs an agent with a replay buffer and its environments in one function.

    An iteration takes `train_frequency` steps in each of `N` environments; with the
    last of them it makes `gradient_steps` updates, each from a fresh batch. They are
    made before that last step is stored: what XLA reads before it writes, it need not
    copy. Updates begin once the buffer has received `learning_starts` transitions, so
    `S` env steps with an empty buffer make exactly
    `gradient_steps * max(0, S // F - ceil((learning_starts + N) / F) + 1)` of them,
    where `F = train_frequency * N`.

    An agent that `overlaps` draws the batch before the iteration's steps instead, so
    that a graph can compute gradients while environments are stepped: neither needs
    what the other writes. The weights, the steps' actions and the update are the same
    but for the batch, which lacks the newest `F - N` transitions. It makes
    `max(0, S // F - ceil(learning_starts / F))` updates.

    Args:
        agent: Off-policy `Agent`: `explore`, `random_action`, `stored_reward`,
            `observe`, `update` (`compute_gradients` and `apply_gradients` if it
            `overlaps`), `buffer`, and the settings `batch_size`, `train_frequency`,
            `gradient_steps`, `learning_starts`.
        env: `Environment` of `N` copies.
        seed: Integer, of all random numbers of the run.
        jit_compile: `"auto"` (XLA unless the network has convolutions, where plain
            graphs are faster on CPU), True or False.
    """

    counters = "iteration", "env_steps"

    def __init__(self, agent, env, seed, jit_compile="auto"):
        for name in ("train_frequency", "gradient_steps", "learning_starts"):
            check_positive_integer(name, getattr(agent, name))
        super().__init__(agent, env, seed, jit_compile, agent.train_frequency)
        self.metric_names = agent.metric_names
        self._compile_parts(jit_compile is not False)
        if hasattr(agent.buffer, "set_training_length"):
            self.plan_variables = [tf.Variable(False, trainable=False, name="planned")]
        self.start()

    def _first_state(self, number):
        agent, env = self.agent, self.env
        with env.errors():
            env_state, observation = env.reset(tf.stack([self._seed, number]))
        env_action, action = agent.random_action(env.num_envs, [self._seed, number - 1])
        agent.buffer.build(
            tf.TensorSpec(observation.shape[1:], observation.dtype),
            tf.TensorSpec(action.shape[1:], action.dtype),
            env.num_envs,
        )
        return LoopState(
            iteration=tf.zeros([], tf.int64),
            env_steps=tf.convert_to_tensor(agent.env_steps),
            env_state=env_state,
            observation=observation,
            env_action=env_action,
            action=action,
            running=no_episodes(env.num_envs),
        )

    def plan(self, num_iterations):
        """Tells a buffer over how many draws its schedules go: those of the first fit.

        At its end beta is 1, and stays so if there is a second one.
        """
        agent, num_envs = self.agent, self.env.num_envs
        if not self.plan_variables or bool(self.plan_variables[0]):
            return
        self.plan_variables[0].assign(True)
        missing = agent.learning_starts - int(agent.buffer.added())
        if not agent.overlaps:
            missing += num_envs - self.steps_per_iteration
        warm_up = max(0, -(-missing // self.steps_per_iteration))
        planned = max(1, num_iterations - warm_up) * agent.gradient_steps
        agent.buffer.set_training_length(planned)

    def _compile_parts(self, allowed):
        """Decides which parts XLA compiles where it does not compile the whole.

        Buffers always gain: op by op they take a millisecond.
        """

        def part(function, wanted=True):
            if self.whole or not (allowed and wanted):
                return function
            return tf.function(function, jit_compile=True, autograph=False)

        self._sample, self._store = part(self._draw), part(self._add)
        prioritized = hasattr(self.agent.buffer, "update_priorities")
        self._prioritize = part(self._set_priorities, prioritized)
        self._env_step = part(self.env.step, self.env.in_graph)

    def _iterate(self, carry):
        prepared = self._prepare(carry.state) if self.agent.overlaps else None
        last = self.vector_steps - 1
        if last:
            _, carry = tf.while_loop(
                lambda t, carry: (t < last) & is_healthy(carry.problem),
                lambda t, carry: (t + 1, self._step(carry, t)),
                (tf.zeros([], tf.int64), carry),
                parallel_iterations=1,
            )
        # After a problem the last step is made, but nothing of it counts.
        return self._step(carry, tf.constant(last, tf.int64), True, prepared)

    def _prepare(self, state):
        """Draws a batch, before what is stored next, and differentiates on it."""
        agent = self.agent
        ready = self._is_ready()
        seed = self._seeds(state)[2]
        index, batch = call_if(ready, lambda: self._sample(seed)) or (None, None)
        gradients = call_if(ready, lambda: agent.compute_gradients(batch))
        return Prepared(ready, index, gradients)

    def _is_ready(self):
        return self.agent.buffer.added() >= self.agent.learning_starts

    def _step(self, carry, t, learns=False, prepared=None):
        """One step of every environment; then learns if it is time, stores and acts."""
        agent, state = self.agent, carry.state
        seeds = self._seeds(state)
        env_state, after = self._env_step(state.env_state, state.env_action, seeds[0])
        found, finite = find_in_step(after, state.iteration, t)
        carry = carry._replace(
            problem=tf.where(is_healthy(carry.problem), found, carry.problem)
        )
        if learns:
            carry = self._learn(carry, seeds[2], prepared)
        valid = after.valid & finite & is_healthy(carry.problem)
        self._store(state.observation, state.action, after._replace(valid=valid))
        running, totals = count_step(
            state.running, after.reward, after.terminated | after.truncated, valid
        )
        agent.observe(state.observation[None], valid[None])
        env_steps = state.env_steps + self.env.num_envs
        env_action, action = agent.explore(after.observation, seeds[1], env_steps)
        state = LoopState(
            iteration=state.iteration + int(learns),
            env_steps=env_steps,
            env_state=env_state,
            observation=after.observation,
            env_action=env_action,
            action=action,
            running=running,
        )
        return carry._replace(state=state, totals=carry.totals + totals)

    def _seeds(self, state):
        """`[3, 2]` int32: of the environments, of exploring and of replay."""
        step = tf.cast(state.env_steps, tf.int32)  # wraps after 2**31
        return tf.random.stateless_uniform(
            [3, 2], tf.stack([self._seed, step]), None, None, tf.int32, alg="philox"
        )

    def _learn(self, carry, seed, prepared):
        """`gradient_steps` updates, once there is enough to learn from."""
        agent, state = self.agent, carry.state
        ready = self._is_ready() if prepared is None else prepared.ready
        steps = tf.where(ready, agent.gradient_steps, 0)

        def learn(g, sums, problem):
            if prepared is None:
                index, batch = self._sample(seed + tf.stack([0, g]))
                metrics = dict(agent.update(batch))
            else:
                index = prepared.index
                metrics = dict(agent.apply_gradients(prepared.gradients))
            check_metric_names(metrics, agent)
            td_error = metrics["td_error"]
            self._prioritize(index, td_error)
            metrics["td_error"] = tf.reduce_mean(tf.abs(td_error))
            values = [tf.cast(metrics[name], tf.float32) for name in self.metric_names]
            sums += tf.cast(tf.stack(values), tf.float64)
            return g + 1, sums, find_in_metrics(metrics, state.iteration)

        made, sums, problem = tf.while_loop(
            lambda g, sums, problem: (g < steps) & is_healthy(problem),
            learn,
            (0, carry.sums, carry.problem),
            parallel_iterations=1,
        )
        updates = carry.updates + tf.cast(made, tf.float64)
        return carry._replace(sums=sums, updates=updates, problem=problem)

    def _draw(self, seed):
        return self.agent.buffer.sample(self.agent.batch_size, seed)

    def _add(self, observation, action, after):
        self.agent.buffer.add(
            observation,
            action,
            self.agent.stored_reward(after.reward),
            after.terminated,
            after.truncated,
            after.next_observation,
            after.valid,
        )

    def _set_priorities(self, index, td_error):
        if hasattr(self.agent.buffer, "update_priorities"):
            self.agent.buffer.update_priorities(index, td_error)
