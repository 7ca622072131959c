"""Base class of compiled loops: runs blocks of iterations as one function."""

from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._memory import check_room
from kerasrl2._private import layers_of
from kerasrl2._seeds import seeds_from
from kerasrl2._state import state_of
from kerasrl2.envs.core import observation_bytes, warn_of_others
from kerasrl2.training.collect import ActorState, begin_episodes
from kerasrl2.training.contract import Learner, check_contract
from kerasrl2.training.episodes import (
    RunningEpisodes,
    in_order,
    no_episodes,
    none_ended,
    zero_totals,
)
from kerasrl2.training.programs import compiled_program

_COUNTERS = "iteration", "env_steps", "sums", "updates", "totals"


class Carry(NamedTuple):
    """State passed from iteration to iteration; few tensors, since each costs time.

    Attributes:
        iteration: Scalar int64, iterations so far.
        env_steps: Scalar int64, env steps that the agent has played so far, including
            those of earlier loops, without rows that are not transitions.
        actor: `ActorState` of the environments and the policy.
        episodes: `RunningEpisodes`.
        learner_state: Nest of tensors, the state of the agent's `prepare`.
        sums: `[M]` float64, metrics summed over updates, in the order of
            `metric_names`.
        updates: Scalar float64, number of updates.
        totals: `[3]` float64, of finished episodes; see `episodes.zero_totals`.
        ended: `EndedEpisodes` of the last iteration; `()` if nobody asks.
    """

    iteration: Any
    env_steps: Any
    actor: ActorState
    episodes: RunningEpisodes
    learner_state: Any
    sums: Any
    updates: Any
    totals: Any
    ended: Any = ()


class CompiledLoop(tf.Module):
    """Runs an agent and its environments, many iterations per call.

    A subclass defines `_iterate`. XLA compiles whole blocks of iterations; where it
    cannot or should not, a block is a plain graph.

    Args:
        agent: `Agent`.
        env: `Environment` of `N` copies.
        seed: Integer, of all random numbers of the run.
        jit_compile: `"auto"` (XLA unless the network has convolutions, where plain
            graphs are faster on CPU), True or False.
        steps: Integer, largest number of vector steps per iteration.

    Attributes:
        carry: `Carry` of variables. Sums and totals start with a report (`new_report`)
            and continue over blocks, whose length therefore makes no difference.
        guard: `Guard`, to which NaN and infinity are reported.
        metric_names: Tuple of strings, the metrics whose means a report holds.
        steps_per_iteration: Integer, largest number of env steps of all copies.
        uses_xla: Boolean, whether XLA compiles learning.
        compiles_environment: Boolean, whether XLA compiles the environment's steps too.
        plays_less: Boolean, whether an iteration may play fewer steps than that.
        tells_episodes: Boolean, whether a block ends with the first iteration in which
            an episode ended, and `episodes_ended` lists those.
        num_traces: Integer, how often a block was traced: once, or never if there was a
            program of an agent of equal structure.
    """

    protocol = Learner
    plays_less = tells_episodes = False

    def __init__(self, agent, env, seed, jit_compile, steps):
        super().__init__()
        check_contract(agent, self.protocol)
        self.agent, self.env = agent, env
        _check_size(env, steps)
        self.vector_steps = steps
        self.steps_per_iteration = steps * env.num_envs
        self.metric_names = tuple(agent.report_names)
        if jit_compile == "auto":
            jit_compile = not has_convolutions(agent.network)
        self.uses_xla = jit_compile
        self.compiles_environment = jit_compile and self.compilable()
        self.num_traces = 0
        self._forget_program()
        self.guard = agent.guard
        self._seed = tf.Variable(seed % 2**31, trainable=False, dtype=tf.int32)
        self.plan_variables = []

    def compilable(self):
        """Whether XLA could compile whole iterations, the environment's steps too."""
        return self.env.compilable

    def start(self):
        """Resets the environment and stores the first `Carry` in variables."""
        self.guard.forget_rewards()
        carry = self._first_carry(-1)
        self.carry = tf.nest.map_structure(
            lambda tensor: tf.Variable(tensor, trainable=False), carry
        )

    def tell_episodes(self, asked):
        """Sets `tells_episodes`; another value compiles anew.

        Args:
            asked: Boolean.
        """
        if asked == self.tells_episodes:
            return
        self.tells_episodes = asked
        ended = tf.nest.map_structure(
            lambda tensor: tf.Variable(tensor, trainable=False), self._none_ended()
        )
        self.carry = self.carry._replace(ended=ended)
        self._forget_program()

    def episodes_ended(self):
        """List of pairs, return and length of each episode the last block ended."""
        return in_order(self.carry.ended) if self.tells_episodes else []

    def _none_ended(self):
        if not self.tells_episodes:
            return ()
        return none_ended(self.vector_steps, self.env.num_envs)

    def _forget_program(self):
        self._program = None
        self._block = tf.function(
            self._run_block, jit_compile=self.compiles_environment, autograph=False
        )

    def restart_episodes(self):
        """Begins new episodes, with seeds other than at the start; keeps counters."""
        carry = self._first_carry(-1 - int(self.carry.iteration))
        counted = {name: getattr(self.carry, name).value() for name in _COUNTERS}
        _assign(self.carry, carry._replace(**counted))

    def restored(self):
        """What follows once the variables were read from a checkpoint.

        Environments in Python begin new episodes.
        """
        if not self.env.in_graph:
            self.restart_episodes()

    def begin_anew_if_moved(self):
        """Begins new episodes where others have reset or stepped the environments.

        Loops that begin episodes anyway do not care.
        """
        if not (self.plays_less or self.env.is_current(self.carry.actor.env_state)):
            warn_of_others(self.env, stacklevel=5)
            self.restart_episodes()

    def new_report(self):
        """Sets sums and totals to zero."""
        for variable in (self.carry.sums, self.carry.updates, self.carry.totals):
            variable.assign(tf.zeros_like(variable))

    def report(self):
        """`(metrics, updates, totals)` since the last `new_report`.

        Metrics are means over updates; `updates` is their number; `totals` are those of
        finished episodes, see `episodes.zero_totals`.
        """
        updates = float(self.carry.updates)
        means = (self.carry.sums / max(updates, 1.0)).numpy().tolist()
        metrics = dict(zip(self.metric_names, means, strict=True))
        return metrics, updates, self.carry.totals.value()

    def progress_logs(self):
        """Dictionary of further floats for the logs at the end of an epoch."""
        return {}

    def variables_by_name(self):
        """Dictionary of names to all variables of a run, for checkpoints.

        Names of the replay buffer's begin with `buffer/`. Episodes of environments in
        Python cannot be stored: only the counters of `carry` are included.
        """
        told = {id(self.guard.largest_reward), *map(id, self.carry.ended)}
        variables = {
            name: variable
            for name, variable in self.state().variables.items()
            if id(variable) not in told
        }
        if not self.env.in_graph:
            counted = {id(getattr(self.carry, name)) for name in _COUNTERS}
            variables = {
                name: variable
                for name, variable in variables.items()
                if not name.startswith("carry/") or id(variable) in counted
            }
        return variables

    def state(self):
        """`State` of everything that the compiled function uses."""
        agent, env = self.agent, self.env
        return state_of(
            buffer=getattr(agent, "buffer", None),
            agent=agent,
            optimizers=agent.optimizers(),
            guard=self.guard,
            carry=self.carry,
            plan=self.plan_variables,
            seed=self._seed,
            env=env.in_programs(),
        )

    def _key(self):
        """What else a program depends on; None if it cannot be shared."""
        if not self.env.in_graph:  # the program calls these very environments
            return None
        return (
            type(self),
            self.uses_xla,
            self.compiles_environment,
            self.tells_episodes,
        )

    def plan(self, env_steps):
        """Prepares schedules for the env steps of a call of `fit`."""

    def run(self, num_iterations, until=None):
        """Makes `num_iterations` iterations; returns `report`.

        Args:
            num_iterations: Integer.
            until: Integer or None. No iteration begins once the agent has played this
                number of env steps.

        Raises:
            EnvironmentFailure: The environment raised.
            NonFiniteError: NaN or infinity; nothing was learned from it.
        """
        eager = tf.config.functions_run_eagerly()  # for debugging: nothing is compiled
        if not eager:
            self.compile()
        self.begin_anew_if_moved()
        self.guard.clear()
        limit = tf.constant(tf.int64.max if until is None else until, tf.int64)
        block = self._block if eager else self._program
        count = tf.constant(num_iterations, tf.int64)
        try:
            with self.env.errors(afterwards=True):
                carry = block(count, limit, self._values())
                _assign(self.carry, carry)
                self.agent.env_steps.assign(carry.env_steps)
        except BaseException:
            self.guard.clear()
            raise
        names = list(self.agent.optimizers())
        iteration = int(carry.iteration)
        self.guard.raise_if_found(self.env, iteration, self.vector_steps, names)
        return self.report()

    @property
    def is_compiled(self):
        """Whether `compile` has nothing left to do."""
        return self._program is not None or tf.config.functions_run_eagerly()

    def compile(self):
        """Traces and compiles by running a block of no iterations, once.

        Raises:
            ValueError: The compiled function uses a variable that no checkpoint holds.
        """
        if not self.is_compiled:
            none = tf.zeros([], tf.int64)
            example = none, none, self._values()
            self._program = compiled_program(
                self._block, example, self.state(), self._key(), self.uses_xla
            )

    def _values(self):
        """The `Carry` as tensors."""
        return tf.nest.map_structure(tf.convert_to_tensor, self.carry)

    def _first_carry(self, number):
        """Resets the environment with seed `[seed, number]`; all counters are 0."""
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
            ended=self._none_ended(),
        )

    def _seeds(self, iteration):
        """`[2, 2]` int32, the seeds of an iteration for playing and for learning."""
        seed = tf.stack([self._seed, tf.cast(iteration, tf.int32)])
        return seeds_from(seed, 2)

    def _iterate(self, carry):
        """Makes one iteration; takes a `Carry` and returns the next one."""
        raise NotImplementedError

    def _run_block(self, num_iterations, until, carry):
        self.num_traces += 1

        def goes_on(i, carry):
            left = (i < num_iterations) & (carry.env_steps < until)
            if self.tells_episodes:
                left &= tf.reduce_all(tf.equal(carry.ended.lengths, 0))
            return left & self.guard.is_healthy()

        def iterate(i, carry):
            carry = self._iterate(carry)
            if not self.env.in_graph:  # it may raise, and the block be lost
                self.agent.env_steps.assign(carry.env_steps)
            return i + 1, carry

        carry = carry._replace(ended=self._none_ended())
        return tf.while_loop(
            goes_on,
            iterate,
            (tf.zeros([], tf.int64), carry),
            parallel_iterations=1,
        )[1]


def _check_size(env, steps):
    """Raises where the rollouts of so many environments cannot fit into memory."""
    row = 2 * observation_bytes(env.observation_space) + 24  # action, signals
    what = f"a rollout of {steps:,} steps of {env.id}"
    check_room("num_envs", env.num_envs, env.num_envs * steps * row, what)


def _assign(variables, values):
    tf.nest.map_structure(lambda v, value: v.assign(value), variables, values)


def has_convolutions(network):
    """Whether any layer of a Keras model is a convolution."""
    return any("Conv" in type(layer).__name__ for layer in layers_of(network))
