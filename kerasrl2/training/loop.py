"""What the compiled loops share: blocks of iterations as one compiled function."""

from kerasrl2._startup import native_chatter_kept_back

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kerasrl2.training.episodes import zero_totals
from kerasrl2.training.finite import is_healthy, no_problem, raise_if_found


class Carry(NamedTuple):
    """What goes from iteration to iteration of a block: few tensors, each costs time.

    Attributes:
        state: Nest of tensors, as in `CompiledLoop.state`.
        sums: `[M]` float32, of the metrics over gradient steps, as `metric_names`.
        updates: Scalar float32, gradient steps so far.
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

    A subclass gives `_iterate`, the first `state` (`start`), and `metric_names`. XLA
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
        state: Nest of variables, what an iteration hands to the next.
        steps_per_iteration: Integer, env steps, of all copies together.
        uses_xla: Boolean, whether XLA compiles what learns.
        whole: Boolean, whether it compiles the environment's steps with it.
        num_traces: Integer, how often a block has been traced: once.
    """

    metric_names = ()

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

    def start(self, state):
        """Keeps the first state, a nest of tensors, in variables."""
        self.state = tf.nest.map_structure(
            lambda tensor: tf.Variable(tensor, trainable=False), state
        )

    def plan(self, num_iterations):
        """Hears how many iterations the coming call of `fit` will make."""

    def run(self, num_iterations):
        """Makes `num_iterations` iterations.

        Returns:
            `(metrics, updates, totals)`: the means over the block's gradient steps, how
            many there were, and totals of the episodes that ended, as
            `episodes.zero_totals`.

        Raises:
            EnvironmentFailure: The environment raised.
            NonFiniteError: NaN or infinity; nothing was learned from it.
        """
        self.compile()
        state = tf.nest.map_structure(lambda variable: variable.value(), self.state)
        eager = tf.config.functions_run_eagerly()  # the user looks into it
        block = self._block if eager else self._compiled
        with self.env.errors():
            carry = block(tf.constant(num_iterations, tf.int64), state)
        tf.nest.map_structure(
            lambda variable, value: variable.assign(value), self.state, carry.state
        )
        raise_if_found(carry.problem, self.env, self.vector_steps)
        updates = float(carry.updates)
        means = carry.sums.numpy().astype(float) / max(updates, 1.0)
        metrics = dict(zip(self.metric_names, means.tolist(), strict=True))
        return metrics, updates, carry.totals

    def compile(self):
        """Traces and compiles by a block of no iterations; does nothing if done."""
        if self._compiled is not None or tf.config.functions_run_eagerly():
            return
        state = tf.nest.map_structure(lambda variable: variable.value(), self.state)
        none = tf.zeros([], tf.int64)
        with native_chatter_kept_back():
            # Concrete, or TensorFlow warns of retracing once there were a few loops.
            self._compiled = self._block.get_concrete_function(none, state)
            self._compiled(none, state)

    def _iterate(self, carry):
        """One iteration: a `Carry` to the next one."""
        raise NotImplementedError

    def _run_block(self, num_iterations, state):
        self.num_traces += 1
        carry = Carry(
            state=state,
            sums=tf.zeros([len(self.metric_names)]),
            updates=tf.zeros([]),
            totals=zero_totals(),
            problem=no_problem(),
        )
        return tf.while_loop(
            lambda i, carry: (i < num_iterations) & is_healthy(carry.problem),
            lambda i, carry: (i + 1, self._iterate(carry)),
            (tf.zeros([], tf.int64), carry),
            parallel_iterations=1,
        )[1]


def has_convolutions(network):
    """Whether any layer of a Keras model is a convolution."""
    layers = network._flatten_layers() if isinstance(network, keras.Layer) else []
    return any("Conv" in type(layer).__name__ for layer in layers)
