"""What the compiled loops share: blocks of iterations as one compiled function."""

from kerasrl2._startup import native_chatter_kept_back

from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._private import layers_of
from kerasrl2._state import state_of
from kerasrl2.training.collect import ActorState, begin_episodes
from kerasrl2.training.contract import Learner, check_contract
from kerasrl2.training.episodes import RunningEpisodes, no_episodes, zero_totals
from kerasrl2.training.programs import Program

_COUNTERS = "iteration", "env_steps", "sums", "updates", "totals"


class Carry(NamedTuple):
    """What goes from iteration to iteration: few tensors, each costs time.

    Attributes:
        iteration: Scalar int64, iterations made so far.
        env_steps: Scalar int64, env steps the agent has played so far, those of earlier
            loops included; rows that are no transitions do not count.
        actor: `ActorState`, of the environments and of the policy.
        episodes: `RunningEpisodes`, episodes under way.
        learner_state: Nest of tensors, what the agent's `prepare` remembers.
        sums: `[M]` float64, of the metrics over gradient steps, as `metric_names`.
        updates: Scalar float64, gradient steps.
        totals: `[3]` float64, of finished episodes, as `episodes.zero_totals`.
    """

    iteration: Any
    env_steps: Any
    actor: ActorState
    episodes: RunningEpisodes
    learner_state: Any
    sums: Any
    updates: Any
    totals: Any


class CompiledLoop(tf.Module):
    """Runs an agent and its environments, many iterations a call.

    A subclass gives `_iterate`. XLA compiles whole blocks of iterations; where it
    cannot or should not, a block is a graph.

    Args:
        agent: `Agent`.
        env: `Environment` of `N` copies.
        seed: Integer, of all random numbers of the run.
        jit_compile: `"auto"` (XLA unless the network has convolutions, where plain
            graphs are faster on CPU), True or False.
        steps: Integer, vector steps an iteration takes at most.

    Attributes:
        carry: `Carry` of variables. Sums and totals are of one report (`new_report`)
            and go on over blocks, so how long these are makes no difference.
        guard: `Guard`, which hears of NaN and infinity.
        metric_names: Tuple of strings, of what a report has means of.
        steps_per_iteration: Integer, env steps of all copies together, at most.
        uses_xla: Boolean, whether XLA compiles what learns.
        compiles_environment: Boolean, whether XLA compiles the environment's steps too.
        plays_less: Boolean, whether an iteration may play fewer steps than that.
        num_traces: Integer, how often a block has been traced: once, or never where the
            program of an agent of equal structure was there.
    """

    protocol = Learner
    plays_less = False

    def __init__(self, agent, env, seed, jit_compile, steps):
        super().__init__()
        check_contract(agent, self.protocol)
        self.agent, self.env = agent, env
        self.vector_steps = steps
        self.steps_per_iteration = steps * env.num_envs
        self.metric_names = tuple(agent.report_names)
        if jit_compile == "auto":
            jit_compile = not has_convolutions(agent.network)
        self.uses_xla = jit_compile
        self.compiles_environment = jit_compile and env.compilable
        self.num_traces, self._program = 0, None
        self._block = tf.function(
            self._run_block, jit_compile=self.compiles_environment, autograph=False
        )
        self.guard = agent.guard
        self._seed = tf.Variable(seed % 2**31, trainable=False, dtype=tf.int32)
        self.plan_variables = []

    def start(self):
        """Resets the environment and keeps the first `Carry` in variables."""
        carry = self._first_carry(-1)
        self.carry = tf.nest.map_structure(
            lambda tensor: tf.Variable(tensor, trainable=False), carry
        )

    def restart_episodes(self):
        """Begins new episodes, others than at the start; what is counted goes on."""
        carry = self._first_carry(-1 - int(self.carry.iteration))
        counted = {name: getattr(self.carry, name).value() for name in _COUNTERS}
        _assign(self.carry, carry._replace(**counted))

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

    def variables_by_name(self):
        """Dictionary of names to all variables of a run, for checkpoints.

        Those of the replay buffer begin with `buffer/`. Episodes in Python cannot be
        stored: of them only what is counted is in it.
        """
        variables = self.state().variables
        if not self.env.in_graph:
            counted = {id(getattr(self.carry, name)) for name in _COUNTERS}
            variables = {
                name: variable
                for name, variable in variables.items()
                if not name.startswith("carry/") or id(variable) in counted
            }
        return variables

    def state(self):
        """`State` of all that the compiled function uses."""
        agent, env = self.agent, self.env
        return state_of(
            buffer=getattr(agent, "buffer", None),
            agent=agent,
            optimizers=agent.optimizers(),
            guard=self.guard,
            carry=self.carry,
            plan=self.plan_variables,
            seed=self._seed,
            env=env if env.in_graph else None,
        )

    def _key(self):
        """What a program depends on beside `state`; None if it cannot be shared."""
        if not self.env.in_graph:  # the program calls these very environments
            return None
        return type(self), self.uses_xla, self.compiles_environment

    def plan(self, env_steps):
        """Prepares schedules for the env steps that a call of `fit` will make."""

    def run(self, num_iterations, until=None):
        """Makes `num_iterations` iterations; returns `report`.

        Args:
            num_iterations: Integer.
            until: Integer or None. No further iteration begins once the agent has
                played that many env steps.

        Raises:
            EnvironmentFailure: The environment raised.
            NonFiniteError: NaN or infinity; nothing was learned from it.
        """
        self.compile()
        self.guard.clear()
        limit = tf.constant(tf.int64.max if until is None else until, tf.int64)
        # Eager functions are for users who debug: then nothing is compiled.
        eager = tf.config.functions_run_eagerly()
        block = self._block if eager else self._program
        with self.env.errors():
            carry = block(tf.constant(num_iterations, tf.int64), limit, self._values())
        _assign(self.carry, carry)
        self.agent.env_steps.assign(carry.env_steps)
        names = list(self.agent.optimizers())
        iteration = int(carry.iteration)
        self.guard.raise_if_found(self.env, iteration, self.vector_steps, names)
        return self.report()

    def compile(self):
        """Traces and compiles by a block of no iterations; does nothing if done.

        Raises:
            ValueError: The compiled function uses a variable that no checkpoint holds.
        """
        if self._program is not None or tf.config.functions_run_eagerly():
            return
        none = tf.zeros([], tf.int64)
        with native_chatter_kept_back():
            example = none, none, self._values()
            self._program = Program(self._block, example, self.state(), self._key())
            self._program(*example)

    def _values(self):
        """The `Carry` as tensors."""
        return tf.nest.map_structure(lambda variable: variable.value(), self.carry)

    def _first_carry(self, number):
        """Resets the environment with seed `[seed, number]`; nothing is counted yet."""
        agent, env = self.agent, self.env
        with env.errors():
            actor = begin_episodes(agent, env, tf.stack([self._seed, number]))
        return Carry(
            iteration=tf.zeros([], tf.int64),
            env_steps=tf.convert_to_tensor(agent.env_steps),
            actor=actor,
            episodes=no_episodes(env.num_envs),
            learner_state=agent.initial_learner_state(env.num_envs),
            sums=tf.zeros([len(self.metric_names)], tf.float64),
            updates=tf.zeros([], tf.float64),
            totals=zero_totals(),
        )

    def _seeds(self, iteration):
        """`[2, 2]` int32 of an iteration: of playing and of learning."""
        seed = tf.stack([self._seed, tf.cast(iteration, tf.int32)])
        return tf.random.stateless_uniform(
            [2, 2], seed, None, None, tf.int32, alg="philox"
        )

    def _iterate(self, carry):
        """One iteration: a `Carry` to the next one."""
        raise NotImplementedError

    def _run_block(self, num_iterations, until, carry):
        self.num_traces += 1

        def goes_on(i, carry):
            left = (i < num_iterations) & (carry.env_steps < until)
            return left & self.guard.is_healthy()

        def iterate(i, carry):
            carry = self._iterate(carry)
            if not self.env.in_graph:  # it may raise, and the block be lost
                self.agent.env_steps.assign(carry.env_steps)
            return i + 1, carry

        return tf.while_loop(
            goes_on,
            iterate,
            (tf.zeros([], tf.int64), carry),
            parallel_iterations=1,
        )[1]


def _assign(variables, values):
    tf.nest.map_structure(lambda v, value: v.assign(value), variables, values)


def has_convolutions(network):
    """Whether any layer of a Keras model is a convolution."""
    return any("Conv" in type(layer).__name__ for layer in layers_of(network))
