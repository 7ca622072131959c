"""The asynchronous loop: workers in threads that teach one network."""

from kerasrl2._startup import native_chatter_kept_back

import contextlib
import threading
from functools import partial

import tensorflow as tf

from kerasrl2._state import state_of
from kerasrl2.errors import NonFiniteError
from kerasrl2.training.contract import AsynchronousLearner
from kerasrl2.training.loop import CompiledLoop
from kerasrl2.training.metrics import reported_metrics
from kerasrl2.training.programs import Program
from kerasrl2.training.threads import Tickets, of_worker, run_threads
from kerasrl2.training.worker import SIGNALS, Worker, other_names
from kerasrl2.types import Rollout


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

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A3C.for_env("CartPole-v1", workers=2, seed=0)
    >>> isinstance(agent.loop_on("CartPole-v1"), AsynchronousLoop)
    True
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
        self._one_at_a_time = threading.RLock()
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
        if self.is_compiled:
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
            worker.begin_anew_if_moved()
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
        carry = worker.begin()
        # Without copies of the weights workers take turns.
        turn = contextlib.nullcontext() if worker.has_copy else self._one_at_a_time
        alone = self._one_at_a_time if self.agent.lock else contextlib.nullcontext()
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
        signals = dict(zip(SIGNALS, contribution.signals, strict=True))
        rollout = Rollout(contribution.observation, None, **signals)
        before = guard.is_healthy()
        guard.report(contribution.problem)
        guard.note_rewards(rollout, contribution.iteration)
        healthy = guard.is_healthy()
        shared = self.workers[0].shared
        others = [shared[name] for name in other_names(agent, shared)]
        pairs = zip(others, contribution.before, contribution.after, strict=True)
        for variable, old, new in pairs:
            move(variable, old, new, healthy)
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


def move(variable, old, new, healthy):
    """Changes a variable by what a worker's copy has changed from `old` to `new`.

    To the bit `new` where nobody else has changed it.

    Args:
        variable: `tf.Variable`.
        old: Tensor of its shape, before the worker's rollout.
        new: The same after it.
        healthy: Scalar bool, whether to change it at all.
    """
    now = variable.read_value()
    if variable.dtype == tf.bool:
        moved = tf.where(tf.equal(new, old), now, new)
    else:
        moved = tf.where(tf.equal(now, old), new, now + (new - old))
    variable.assign(tf.where(healthy, moved, now))
