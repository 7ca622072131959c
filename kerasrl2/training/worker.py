"""A worker of the asynchronous loop: its environments and its copy of the weights."""

import kerasrl2._startup  # noqa: F401

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kerasrl2._state import state_of
from kerasrl2.training.contract import AsynchronousLearner
from kerasrl2.training.episodes import count_episodes
from kerasrl2.training.finite import Guard
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.training.programs import Program

SIGNALS = "reward", "terminated", "truncated", "valid"


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

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A3C.for_env("CartPole-v1", rollout_length=5, seed=0)
    >>> env = krl.envs.make("CartPole-v1", num_envs=2)
    >>> worker = Worker(agent, env, index=0, seed=0, jit_compile=False)
    >>> carry, contribution = worker.compute(*worker.example())
    >>> int(carry.iteration), contribution.played.numpy().tolist()
    (1, [10, 0])
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
            env=self.env.in_programs(),
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

    def begin(self):
        """The `Carry` as tensors, at the beginning of a block; clears the guard."""
        self.own_guard.clear()
        return self._values()

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
        names = other_names(self.agent, self.shared)
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
            signals=[getattr(rollout, name) for name in SIGNALS],
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


def other_names(agent, shared):
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
