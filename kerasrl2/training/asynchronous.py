"""The asynchronous loop: workers in threads that teach one network."""

import kerasrl2._startup  # noqa: F401
from kerasrl2._startup import native_chatter_kept_back

import contextlib
import threading
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kerasrl2._state import state_of
from kerasrl2.errors import NonFiniteError
from kerasrl2.training.contract import AsynchronousLearner
from kerasrl2.training.episodes import count_episodes
from kerasrl2.training.finite import Guard
from kerasrl2.training.loop import CompiledLoop
from kerasrl2.training.metrics import reported_metrics
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.training.programs import Program
from kerasrl2.training.workers import Tickets, of_worker, run_threads
from kerasrl2.types import Rollout


class Contribution(NamedTuple):
    """What a worker hands over after a rollout.

    Attributes:
        problem: `[4]` int64, what the worker's guard has reported.
        gradients: `types.Gradients`, on the weights that the worker had.
        metrics: Dictionary of further scalars.
        observation: `[T, N, ...]`, for running statistics.
        signals: Reward, terminated, truncated and valid, all `[T, N]`.
        learner_state: Nest of `[N, ...]`, before the rollout.
        before: List of tensors, other variables of the agent before the rollout.
        after: The same after it: batch normalisation changes its averages.
        iteration: Scalar int64, the worker's rollouts before this one.
        played: `[2]` int64, env steps, and episodes that ended.
    """

    problem: Any
    gradients: Any
    metrics: Any
    observation: Any
    signals: Any
    learner_state: Any
    before: Any
    after: Any
    iteration: Any
    played: Any


class Worker(OnPolicyLoop):
    """Plays environments of its own and differentiates on its own copy of the weights.

    Args:
        agent: `Agent` with the members of `contract.AsynchronousLearner`.
        env: `Environment` of `N` copies.
        index: Integer, which worker this is. Number 0 draws what a loop with the same
            seed draws, the others what is independent of it.
        seed: Integer, of all random numbers of the run.
        jit_compile: As for `OnPolicyLoop`.

    Attributes:
        played: Variable, `[2]` int64: env steps, and episodes that ended, in this run.
    """

    protocol = AsynchronousLearner

    def __init__(self, agent, env, index, seed, jit_compile):
        if index:
            seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
        self.played = tf.Variable([0, 0], trainable=False, dtype=tf.int64)
        super().__init__(agent, env, seed, jit_compile)
        self.index, self.own_guard = index, Guard()
        self.shared = shared_variables(agent)
        self._compute = tf.function(
            self._contribution, jit_compile=self.compiles_environment, autograph=False
        )

    def example(self):
        """Arguments of a call of `compute`."""
        values = [variable.value() for variable in self.shared.values()]
        return values, tf.zeros([], tf.int64), self._values()

    def compile(self, program=None):
        """Makes `compute`, from another worker's program if that plays the same `env`.

        Returns:
            The `Program`.
        """
        state = state_of(
            agent=self.agent,
            optimizers=self.agent.optimizers(),
            guard=self.guard,
            seed=self._seed,
            env=self.env if self.env.in_graph else None,
        )
        if program is None:
            key = self._key()
            program = Program(self._compute, self.example(), state, key)
        copies = {
            name: tf.Variable(variable, trainable=False)
            for name, variable in self.shared.items()
        }
        own = state_of(guard=self.own_guard, seed=self._seed).variables
        # The optimizer's moments are of no use to a worker.
        self._program = program.on({**state.variables, **copies, **own})
        return program

    @property
    def has_copy(self):
        """Whether there is a copy of the weights; if not, workers take turns."""
        return self._program is not None

    def compute(self, values, env_steps, carry):
        """A rollout, and the gradients on it, with the weights of the last pull.

        Args:
            values: List of tensors, what the agent's variables were then.
            env_steps: Scalar int64, env steps of all workers so far.
            carry: `Carry` of tensors.

        Returns:
            `(Carry, Contribution)`.
        """
        if self._program is not None:
            return self._program(values, env_steps, carry)
        carry, contribution = self._compute(values, env_steps, carry)
        for variable, value in zip(self.shared.values(), values, strict=True):
            variable.assign(value)  # here a worker has no copy of them
        return carry, contribution

    def keep(self, carry):
        """Stores a `Carry` of tensors."""
        tf.nest.map_structure(lambda v, value: v.assign(value), self.carry, carry)

    def _contribution(self, values, env_steps, carry):
        for variable, value in zip(self.shared.values(), values, strict=True):
            variable.assign(value)
        carry = carry._replace(env_steps=env_steps)
        play = self._play_episodes if self.agent.whole_episodes else self._play
        seeds = self._seeds(carry.iteration)
        carry, rollout = play(carry, seeds[0])
        actor = carry.actor
        carry, contribution = self._learn(carry._replace(actor=()), rollout, seeds[1])
        names = _others(self.agent, self.shared)
        before = dict(zip(self.shared, values, strict=True))
        contribution = contribution._replace(
            before=[before[name] for name in names],
            after=[self.shared[name].read_value() for name in names],
        )
        return carry._replace(actor=actor), contribution

    def _learn_from(self, carry, rollout, seed):
        """`(Carry, Contribution)` of a `Rollout`; takes no step."""
        agent, guard = self.agent, self.guard
        guard.report_rollout(rollout, carry.iteration)
        healthy = guard.is_healthy()
        counted, totals = count_episodes(rollout, carry.episodes)
        batch, learner_state = agent.prepare(rollout, carry.learner_state)
        gradients, metrics = agent.contribute(batch, seed)
        steps = tf.math.count_nonzero(rollout.valid)
        played = tf.stack([steps, tf.cast(totals[0], tf.int64)])
        contribution = Contribution(
            problem=guard.problem(),
            gradients=gradients._replace(
                values=[tf.convert_to_tensor(value) for value in gradients.values]
            ),
            metrics=metrics,
            observation=rollout.observation,
            signals=[getattr(rollout, name) for name in _SIGNALS],
            learner_state=carry.learner_state,
            before=[],
            after=[],
            iteration=carry.iteration,
            played=tf.where(healthy, played, 0),
        )
        carry = carry._replace(
            iteration=carry.iteration + 1,
            episodes=tf.nest.map_structure(
                lambda new, old: tf.where(healthy, new, old), counted, carry.episodes
            ),
            learner_state=learner_state,
            totals=carry.totals + tf.where(healthy, totals, 0.0),
        )
        return carry, contribution


_SIGNALS = "reward", "terminated", "truncated", "valid"


class AsynchronousLoop(CompiledLoop):
    """Runs an agent with several workers, each in a thread with its own environments.

    A worker plays a rollout and computes gradients in one compiled function, on its own
    copy of the weights. Then it pushes: one step of the shared optimizer, on whatever
    the weights are by now, and updates of the shared running statistics with its
    rollout. Then it pulls: copies all weights. With `agent.lock` one worker at a time
    pushes and pulls. All threads have ended when `run` returns or raises.

    An iteration is one rollout of one worker. With several workers their order is up to
    the operating system, so that runs differ; counters are exact. With one worker a run
    is that of `OnPolicyLoop`.

    Args:
        agent: `Agent` with the members of `contract.AsynchronousLearner`.
        env: `Environment` in TensorFlow, whose state each worker has for itself, or
            `WorkerEnvironments`.
        seed: Integer, of all random numbers of the run.
        jit_compile: As for `OnPolicyLoop`.

    Attributes:
        workers: List of `Worker`.
    """

    protocol = AsynchronousLearner

    def __init__(self, agent, env, seed, jit_compile="auto"):
        super().__init__(agent, env, seed, jit_compile, agent.rollout_length)
        self.plays_less = agent.whole_episodes
        envs = getattr(env, "parts", None) or [env] * agent.workers
        self.workers = [
            Worker(agent, env, index, seed, jit_compile)
            for index, env in enumerate(envs)
        ]
        self._lock = threading.RLock()
        self._push = tf.function(
            self._take, jit_compile=bool(self.uses_xla), autograph=False
        )
        self.start()

    def start(self):
        """Stores the sum of the workers' counters in variables."""
        first = self.workers[0].carry
        counters = {
            name: tf.Variable(getattr(first, name), trainable=False)
            for name in ("iteration", "env_steps", "sums", "updates", "totals")
        }
        self.carry = first._replace(**counters)

    def restart_episodes(self):
        for worker in self.workers:
            worker.restart_episodes()

    def new_report(self):
        super().new_report()
        for worker in self.workers:
            worker.new_report()

    def progress_logs(self):
        """Env steps and finished episodes of each worker in this run."""
        played = [worker.played.numpy().tolist() for worker in self.workers]
        if len(played) == 1:
            return {}
        return {
            f"worker_{index}_{name}": float(count)
            for index, counts in enumerate(played)
            for name, count in zip(("env_steps", "episodes"), counts, strict=True)
        }

    def variables_by_name(self):
        variables = super().variables_by_name()
        if self.env.in_graph:
            return variables
        kept = {id(worker.played) for worker in self.workers}
        for worker in self.workers:
            counters = "iteration", "sums", "updates", "totals"
            kept |= {id(getattr(worker.carry, name)) for name in counters}
        return {
            name: variable
            for name, variable in variables.items()
            if not name.startswith("workers/") or id(variable) in kept
        }

    def state(self):
        state = super().state()
        more = state_of(workers=[[w.carry, w.played] for w in self.workers])
        known = {id(variable) for variable in state.variables.values()}
        new = {n: v for n, v in more.variables.items() if id(v) not in known}
        return state._replace(variables={**state.variables, **new})

    def compile(self):
        if self._program is not None or tf.config.functions_run_eagerly():
            return
        made, agent = {}, self.agent
        with native_chatter_kept_back():
            for worker in self.workers:
                found = made.get(id(worker.env))
                made[id(worker.env)] = worker.compile(found)
            first = self.workers[0]
            _, contribution = made[id(first.env)].results
            example = contribution, self.carry.sums.value(), self.carry.updates.value()
            state = state_of(
                agent=agent, optimizers=agent.optimizers(), guard=self.guard
            )
            key = type(self), self.uses_xla, "push"
            self._program = Program(self._push, example, state, key)

    def run(self, num_iterations, until=None):
        """Makes `num_iterations` rollouts, by whichever worker is free.

        Args:
            num_iterations: Integer.
            until: Integer or None. No iteration begins once that many env steps have
                been played or are being played.

        Returns:
            As `report`.

        Raises:
            EnvironmentFailure: The environment of a worker raised.
            NonFiniteError: NaN or infinity; nothing was learned from it.
            RuntimeError: Something else failed in a worker; the cause is chained.
        """
        self.compile()
        for worker in self.workers:
            worker._begin_anew_if_moved()
            worker.own_guard.clear()
        self.guard.clear()
        tickets = Tickets(
            num_iterations, int(self.carry.env_steps), until, self.steps_per_iteration
        )
        values = [v.value() for v in self.workers[0].shared.values()]
        try:
            run_threads(
                [
                    partial(self._work, worker, tickets, values)
                    for worker in self.workers
                ],
                tickets.stop,
            )
        except BaseException:
            self.guard.clear()
            raise
        finally:
            self._count(tickets.played)
        if tickets.unhealthy is not None:
            self._raise_found(tickets.unhealthy)
        return self.report()

    def _work(self, worker, tickets, values):
        """What a thread does: plays, pushes and pulls, until there are no tickets."""
        carry = worker._values()
        # Without copies of the weights workers take turns.
        turn = contextlib.nullcontext() if worker.has_copy else self._lock
        alone = self._lock if self.agent.lock else contextlib.nullcontext()
        eager = tf.config.functions_run_eagerly()
        push = self._push if eager else self._program
        try:
            with worker.env.errors(afterwards=True):
                while (env_steps := tickets.take()) is not None:
                    with turn:
                        if not worker.has_copy:
                            values = [v.value() for v in worker.shared.values()]
                        carry, given = worker.compute(
                            values, tf.constant(env_steps, tf.int64), carry
                        )
                        with alone:
                            values, sums, updates, healthy = push(
                                given, carry.sums, carry.updates
                            )
                            before, healthy = healthy.numpy().tolist()
                            tickets.note(worker, before, healthy)
                    carry = carry._replace(sums=sums, updates=updates)
                    worker.played.assign_add(given.played)
                    tickets.give_back(int(given.played[0]))
        finally:
            worker.keep(carry)

    def _take(self, contribution, sums, updates):
        """The shared side of a push, and of the pull after it.

        Returns:
            `(values, sums, updates, healthy)`: the agent's variables after the step,
            the sums of metrics, and `[2]` bool, whether the guard has no report before
            and after it.
        """
        self.num_traces += 1
        agent, guard = self.agent, self.guard
        signals = dict(zip(_SIGNALS, contribution.signals, strict=True))
        rollout = Rollout(contribution.observation, None, **signals)
        before = guard.is_healthy()
        guard.report(contribution.problem)
        guard.note_rewards(rollout, contribution.iteration)
        healthy = guard.is_healthy()
        shared = self.workers[0].shared
        others = [shared[name] for name in _others(agent, shared)]
        pairs = zip(others, contribution.before, contribution.after, strict=True)
        for variable, old, new in pairs:
            _move(variable, old, new, healthy)
        agent.take_in(rollout, contribution.learner_state, rollout.valid & healthy)
        metrics, _ = agent.apply_gradients(contribution.gradients)
        new = {**reported_metrics(metrics, agent), **contribution.metrics}
        new = [tf.cast(new[name], tf.float32) for name in self.metric_names]
        values = [variable.read_value() for variable in shared.values()]
        return (
            values,
            sums + tf.cast(tf.stack(new), tf.float64),
            updates + 1.0,
            tf.stack([before, guard.is_healthy()]),
        )

    def _count(self, env_steps):
        """Sums up the workers' counters, after a block."""
        for name in ("iteration", "sums", "updates", "totals"):
            total = tf.add_n([getattr(w.carry, name).value() for w in self.workers])
            getattr(self.carry, name).assign(total)
        self.carry.env_steps.assign(env_steps)
        self.agent.env_steps.assign(env_steps)

    def _raise_found(self, worker):
        """Raises what the guard was told first, by this worker."""
        names, iteration = list(self.agent.optimizers()), int(worker.carry.iteration)
        try:
            self.guard.raise_if_found(worker.env, iteration, self.vector_steps, names)
        except NonFiniteError as error:
            raise of_worker(error, worker.index, len(self.workers)) from error


def shared_variables(agent):
    """Dictionary of names to the variables that a worker has copies of.

    All of the agent but `env_steps`, and the count of gradient steps, which losses may
    read; not the optimizer's moments.
    """
    state = state_of(agent=agent, optimizers=agent.optimizers())
    pairs = agent.optimizers().values()
    counts = {id(optimizer.iterations.value) for optimizer, _ in pairs}
    return {
        name: variable
        for name, variable in state.variables.items()
        if id(variable) in counts
        or (name.startswith("agent/") and variable is not agent.env_steps.value)
    }


def _others(agent, shared):
    """Names of the shared variables that a worker itself may change.

    Those that neither an optimizer nor `take_in` changes, and that are no `Number`.
    """
    known = [
        variable.value for _, own in agent.optimizers().values() for variable in own
    ]
    known += [
        optimizer.iterations.value for optimizer, _ in agent.optimizers().values()
    ]
    for name in ("observation_normalizer", "reward_scaling"):
        layer = getattr(agent, name, None)
        known += [variable.value for variable in layer.variables] if layer else []
    known = {id(variable) for variable in known}
    return [
        name
        for name, variable in shared.items()
        if id(variable) not in known and "/_numbers/" not in name
    ]


def _move(variable, old, new, healthy):
    """Changes a variable by what a worker's copy has changed from `old` to `new`.

    To the bit `new` where nobody else has changed it.
    """
    now = variable.read_value()
    if variable.dtype == tf.bool:
        moved = tf.where(tf.equal(new, old), now, new)
    else:
        moved = tf.where(tf.equal(now, old), new, now + (new - old))
    variable.assign(tf.where(healthy, moved, now))
