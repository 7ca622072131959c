"""What the compiled loops share: blocks of iterations as one compiled function."""

from kerasrl2._startup import native_chatter_kept_back

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kerasrl2.training.episodes import zero_totals
from kerasrl2.training.finite import is_healthy, no_problem, raise_if_found


class Carry(NamedTuple):
    """What goes from iteration to iteration: few tensors, each costs time.

    Attributes:
        state: Nest of tensors, what an iteration hands to the next.
        sums: `[M]` float64, of the metrics over gradient steps, as `metric_names`.
        updates: Scalar float64, gradient steps.
        totals: `[3]` float64, of finished episodes, as `episodes.zero_totals`.
        problem: `[4]` int64 report of `finite`.
    """

    state: Any
    sums: Any
    updates: Any
    totals: Any
    problem: Any


class CompiledLoop(tf.Module):
    """Runs an agent and its environments, many iterations a call.

    A subclass gives `_iterate`, `_first_state` and `metric_names`. XLA
    compiles whole blocks of iterations; where it cannot or should not, a block is a
    graph.

    Args:
        agent: `Agent`.
        env: `Environment` of `N` copies.
        seed: Integer, of all random numbers of the run.
        jit_compile: `"auto"` (XLA unless the network has convolutions, where plain
            graphs are faster on CPU), True or False.
        steps: Integer, vector steps an iteration takes.

    Attributes:
        carry: `Carry` of variables. Sums and totals are of one report (`new_report`)
            and go on over blocks, so how long these are makes no difference.
        counters: Names of what `carry.state` counts whatever becomes of episodes.
        steps_per_iteration: Integer, env steps, of all copies together.
        uses_xla: Boolean, whether XLA compiles what learns.
        whole: Boolean, whether it compiles the environment's steps with it.
        num_traces: Integer, how often a block has been traced: once.
    """

    metric_names = ()
    counters = ("iteration",)

    def __init__(self, agent, env, seed, jit_compile, steps):
        super().__init__()
        self.agent, self.env = agent, env
        self.vector_steps = steps
        self.steps_per_iteration = steps * env.num_envs
        if jit_compile == "auto":
            jit_compile = not has_convolutions(agent.network)
        self.uses_xla = jit_compile
        self.whole = jit_compile and env.compilable
        self.num_traces, self._compiled = 0, None
        self._block = tf.function(
            self._run_block, jit_compile=self.whole, autograph=False
        )
        self._seed = tf.constant(seed % 2**31, tf.int32)
        self.plan_variables = []

    @property
    def state(self):
        """Nest of variables, what an iteration hands to the next."""
        return self.carry.state

    def start(self):
        """Resets the environment and keeps the first `Carry` in variables."""
        carry = Carry(
            state=self._first_state(-1),
            sums=tf.zeros([len(self.metric_names)], tf.float64),
            updates=tf.zeros([], tf.float64),
            totals=zero_totals(),
            problem=no_problem(),
        )
        self.carry = tf.nest.map_structure(
            lambda tensor: tf.Variable(tensor, trainable=False), carry
        )

    def restart_episodes(self):
        """Begins new episodes, others than at the start; what is counted goes on."""
        state = self._first_state(-1 - int(self.state.iteration))
        kept = {name: getattr(self.state, name).value() for name in self.counters}
        _assign(self.state, state._replace(**kept))

    def new_report(self):
        """Forgets sums and totals."""
        for variable in (self.carry.sums, self.carry.updates, self.carry.totals):
            variable.assign(tf.zeros_like(variable))

    def report(self):
        """`(metrics, updates, totals)` since the last `new_report`.

        Means over gradient steps, how many there were, and totals of the episodes that
        ended, as `episodes.zero_totals`.
        """
        updates = float(self.carry.updates)
        means = (self.carry.sums / max(updates, 1.0)).numpy().tolist()
        metrics = dict(zip(self.metric_names, means, strict=True))
        return metrics, updates, self.carry.totals.value()

    def checkpoint_variables(self):
        """Dictionary of names to all variables of a run but the replay buffer's.

        Episodes in Python cannot be stored: of them only `counters` are in it.
        """
        agent, carry = self.agent, self.carry
        slots = agent.optimizer.variables
        if not self.env.in_graph:
            state = [getattr(carry.state, name) for name in self.counters]
            carry = carry._replace(state=state)
        return {
            **_named("agent", [(v.name, v.value) for v in agent.variables]),
            **_named("optimizer", [("slot", v.value) for v in slots]),
            **_named("loop", [("carry", v) for v in tf.nest.flatten(carry)]),
            **_named("plan", [("made", v) for v in self.plan_variables]),
        }

    def plan(self, num_iterations):
        """Hears how many iterations the coming call of `fit` will make."""

    def run(self, num_iterations):
        """Makes `num_iterations` iterations; returns `report`.

        Raises:
            EnvironmentFailure: The environment raised.
            NonFiniteError: NaN or infinity; nothing was learned from it.
        """
        self.compile()
        carry = self._values()
        eager = tf.config.functions_run_eagerly()  # the user looks into it
        block = self._block if eager else self._compiled
        with self.env.errors():
            carry = block(tf.constant(num_iterations, tf.int64), carry)
        _assign(self.carry, carry)
        raise_if_found(carry.problem, self.env, self.vector_steps)
        return self.report()

    def compile(self):
        """Traces and compiles by a block of no iterations; does nothing if done."""
        if self._compiled is not None or tf.config.functions_run_eagerly():
            return
        none = tf.zeros([], tf.int64)
        with native_chatter_kept_back():
            # Concrete, or TensorFlow warns of retracing once there were a few loops.
            self._compiled = self._block.get_concrete_function(none, self._values())
            self._compiled(none, self._values())

    def _values(self):
        """The `Carry` as tensors, healthy again after a problem."""
        carry = tf.nest.map_structure(lambda variable: variable.value(), self.carry)
        return carry._replace(problem=no_problem())

    def _first_state(self, number):
        """Resets the environment with seed `[seed, number]`; nothing is counted yet."""
        raise NotImplementedError

    def _iterate(self, carry):
        """One iteration: a `Carry` to the next one."""
        raise NotImplementedError

    def _run_block(self, num_iterations, carry):
        self.num_traces += 1
        return tf.while_loop(
            lambda i, carry: (i < num_iterations) & is_healthy(carry.problem),
            lambda i, carry: (i + 1, self._iterate(carry)),
            (tf.zeros([], tf.int64), carry),
            parallel_iterations=1,
        )[1]


def _assign(variables, values):
    tf.nest.map_structure(lambda v, value: v.assign(value), variables, values)


def _named(room, pairs):
    """Names that are unique and the same in each process, for `(name, variable)`."""
    return {f"{room}/{i}/{name}": variable for i, (name, variable) in enumerate(pairs)}


def has_convolutions(network):
    """Whether any layer of a Keras model is a convolution."""
    layers = network._flatten_layers() if isinstance(network, keras.Layer) else []
    return any("Conv" in type(layer).__name__ for layer in layers)
