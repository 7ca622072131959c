"""What a worker does: plays a block with given weights, in one compiled call."""

from kerasrl2._startup import native_chatter_kept_back

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kerasrl2._state import state_of
from kerasrl2.distributed.flat import FlatVariables, policy_variables
from kerasrl2.distributed.transitions import n_step_transitions
from kerasrl2.training.collect import ActorState, collect
from kerasrl2.training.contract import OffPolicyLearner
from kerasrl2.training.loop import CompiledLoop
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.training.programs import Program
from kerasrl2.training.worker import Worker


class Place(NamedTuple):
    """A worker among others.

    Attributes:
        slot: Integer, which of them, from 0.
        workers: Integer, how many.
        generation: Integer, how many workers of this slot were replaced.
        seed: Integer, of the run.

    Example:
    >>> Place(slot=0, workers=8, generation=0, seed=3).own_seed()
    3
    >>> others = [Place(slot, 8, 0, seed=3).own_seed() for slot in range(8)]
    >>> len(set(others))
    8
    """

    slot: int
    workers: int
    generation: int
    seed: int

    def own_seed(self):
        """Integer; the first worker of a run draws what a loop without workers does."""
        if not (self.slot or self.generation):
            return self.seed
        words = [self.seed, self.slot, self.generation]
        return int(np.random.SeedSequence(words).generate_state(1)[0] % 2**31)


class Block(NamedTuple):
    """What a worker hands over.

    Attributes:
        fields: Dictionary of the fields of a `Rollout` that are known, `[T, N, ...]`,
            or of a `training.worker.Contribution`.
        td_error: `[T, N]` float32, first TD errors, `()` without.
        carry: `PlayerState` after the block, if the environments' state is in it.
        infos: List, `Environment.finished_info` of the block.

    Example:
    >>> block = Block({"reward": np.zeros([5, 2], np.float32)}, td_error=(), carry=())
    >>> block.fields["reward"].shape, block.infos
    ((5, 2), ())
    """

    fields: Any
    td_error: Any
    carry: Any
    infos: Any = ()


class PlayerState(NamedTuple):
    """What a worker goes on from.

    Attributes:
        iteration: Scalar int64, blocks that it has played.
        actor: `ActorState` of its environments and policy.
        rest: Further state of what plays: `()`, or of an `AsynchronousLearner`.
    """

    iteration: Any
    actor: ActorState
    rest: Any = ()


class Player:
    """Plays an agent's environments, a block at a time.

    Args:
        agent: `Agent` of this worker alone.
        env: `Environment` of `N` copies.
        kind: String, what is handed over: `"transitions"` for a replay buffer,
            `"rollouts"`, `"contributions"` (gradients), or for a data set `"steps"` and
            `"greedy"`.
        place: `Place`.
        steps: Integer, steps of each environment in a block.
        jit_compile: As for `CompiledLoop`.

    Attributes:
        flat: `FlatVariables`, what weights are sent as.
        state: `PlayerState` of tensors.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.PPO.for_env("CartPole-v1", rollout_length=8, seed=0)
    >>> env = krl.envs.make("CartPole-v1", num_envs=2)
    >>> player = Player(agent, env, "rollouts", Place(0, 1, 0, seed=0), steps=8)
    >>> block = player.play(player.flat.read(), env_steps=0)
    >>> block.fields["observation"].shape, block.fields["reward"].shape
    ((8, 2, 4), (8, 2))
    """

    def __init__(self, agent, env, kind, place, steps, jit_compile="auto"):
        self.agent, self.env, self.place = agent, env, place
        self.flat = FlatVariables(policy_variables(agent))
        exploration = getattr(agent, "exploration", None)
        if hasattr(exploration, "take_place"):
            exploration.take_place(place.slot, place.workers, env.num_envs)
        source = _SOURCES[kind]
        self.source = source(agent, env, place, steps, jit_compile)
        self.begin()
        jit_compile = self.source.compiles_environment
        self._function = tf.function(
            self._play, jit_compile=jit_compile, autograph=False
        )
        self._program = None

    def begin(self, state=None):
        """Begins episodes, or goes on from a `PlayerState` of arrays."""
        if state is None:
            carry = self.source.carry
            state = PlayerState(
                carry.iteration.value(),
                tf.nest.map_structure(lambda v: v.value(), carry.actor),
                self.source.rest(),
            )
        self.state = tf.nest.map_structure(tf.convert_to_tensor, state)

    def compile(self):
        """Traces and compiles what plays; plays nothing."""
        if self._program is not None:
            return
        example = self._arguments(np.zeros([self.flat.size], np.float32), 0)
        state = state_of(
            buffer=getattr(self.agent, "buffer", None),
            agent=self.agent,
            optimizers=self.agent.optimizers(),
            guard=self.source.guard,
            carry=self.source.carry,
            seed=self.source.seed_variable(),
            env=self.env if self.env.in_graph else None,
        )
        with native_chatter_kept_back():
            self._program = Program(self._function, example, state, self._key())

    def play(self, vector, env_steps, info_keys=()):
        """Plays a block.

        Args:
            vector: `[flat.size]` float32, the weights to play with.
            env_steps: Integer, env steps that all workers have played by then.
            info_keys: Tuple of strings, what to keep of `info`.

        Returns:
            `Block` of NumPy arrays.

        Raises:
            EnvironmentFailure: The environment raised.
        """
        self.compile()
        self.env.record_info(info_keys)
        arguments = self._arguments(vector, env_steps)
        with self.env.errors(afterwards=True):
            self.state, fields, td_error = self._program(*arguments)
            fields, td_error = _arrays((fields, td_error))
        if self.agent.whole_episodes:
            self._raise_if_cut()
        carry = _arrays(self.state) if self.env.in_graph else ()
        return Block(fields, td_error, carry, self.env.finished_info())

    def _key(self):
        """What else a program depends on; None: it calls these very environments."""
        if not self.env.in_graph:
            return None
        source = self.source
        sizes = source.vector_steps, self.place.workers, source.compiles_environment
        return type(self), type(source), *sizes

    def _raise_if_cut(self):
        """Raises `ValueError` for an episode that is longer than a rollout."""
        guard, iteration = self.source.guard, int(self.state.iteration)
        guard.raise_if_found(self.env, iteration, self.source.vector_steps, [])

    def _arguments(self, vector, env_steps):
        env_steps = tf.constant(env_steps, tf.int64)
        return tf.convert_to_tensor(vector), env_steps, self.state

    def _play(self, vector, env_steps, state):
        self.flat.write(vector)
        return self.source.block(state, env_steps)


class _Steps(CompiledLoop):
    """Plays steps, exploring."""

    greedy = False

    def __init__(self, agent, env, place, steps, jit_compile):
        super().__init__(agent, env, place.own_seed(), jit_compile, steps)
        self.place = place
        self.start()

    def rest(self):
        return ()

    def seed_variable(self):
        return self._seed

    def block(self, state, env_steps):
        agent, seeds = self.agent, self._seeds(state.iteration)
        # As many steps as these are played by each worker meanwhile.
        ahead = self.env.num_envs * self.place.workers
        actor, rollout = collect(
            agent,
            self.env,
            state.actor,
            self.vector_steps,
            seeds[0],
            env_steps=env_steps + ahead * tf.range(self.vector_steps, dtype=tf.int64),
            greedy=self.greedy,
            keep_states=agent.keeps_states,
        )
        state = PlayerState(state.iteration + 1, actor)
        return state, fields_of(rollout), self.errors_of(rollout, seeds[1])

    def errors_of(self, rollout, seed):
        """`[T, N]` float32 of the steps, or `()`: nobody asks."""
        del rollout, seed
        return ()


class _GreedySteps(_Steps):
    """Plays steps with the policy's mode."""

    greedy = True


class _Transitions(_Steps):
    """Plays steps for a replay buffer, with their first TD errors."""

    protocol = OffPolicyLearner

    def errors_of(self, rollout, seed):
        """`[T, N]` float32, TD errors by the weights that were played with."""
        agent = self.agent
        buffer = agent.buffer
        remembers = getattr(agent, "remembers", False)
        known = hasattr(agent, "td_errors") and not remembers
        if not (known and hasattr(buffer, "update_priorities")):
            return ()
        batch = n_step_transitions(agent.stored(rollout), buffer.n_step, agent.gamma)
        errors = agent.td_errors(batch, seed)
        return tf.reshape(tf.stop_gradient(errors), rollout.reward.shape)


class _Rollouts(OnPolicyLoop):
    """Plays rollouts, with the outputs of the policy where the learner needs them."""

    def __init__(self, agent, env, place, steps, jit_compile):
        super().__init__(agent, env, place.own_seed(), jit_compile)
        self.keeps_outputs = bool(agent.keeps_outputs)
        del steps

    def learning_seed(self, iteration):
        """`[2]` int32, of what is drawn while learning from a rollout."""
        return self._seeds(iteration)[1]

    def rest(self):
        return ()

    def seed_variable(self):
        return self._seed

    def block(self, state, env_steps):
        play = self._play_episodes if self.agent.whole_episodes else self._play
        seeds = self._seeds(state.iteration)
        carry = self._carry_at(state, env_steps)
        carry, rollout = play(carry, seeds[0])
        return PlayerState(state.iteration + 1, carry.actor), fields_of(rollout), ()

    def _carry_at(self, state, env_steps):
        carry = self._values()
        return carry._replace(
            iteration=state.iteration, env_steps=env_steps, actor=state.actor
        )


class _Contributions(Worker):
    """Plays rollouts and differentiates on them, for a parameter server."""

    def __init__(self, agent, env, place, steps, jit_compile):
        super().__init__(agent, env, 0, place.own_seed(), jit_compile)
        del steps

    def rest(self):
        carry = self.carry
        parts = carry.episodes, carry.learner_state, carry.totals
        return tf.nest.map_structure(lambda v: v.value(), parts)

    def seed_variable(self):
        return {"own": self._seed, "guard": self.own_guard}

    def block(self, state, env_steps):
        values = [variable.read_value() for variable in self.shared.values()]
        episodes, learner_state, totals = state.rest
        carry = self._values()._replace(
            iteration=state.iteration,
            actor=state.actor,
            episodes=episodes,
            learner_state=learner_state,
            totals=totals,
        )
        carry, contribution = self._contribution(values, env_steps, carry)
        rest = carry.episodes, carry.learner_state, carry.totals
        state = PlayerState(carry.iteration, carry.actor, rest)
        return state, contribution._asdict(), ()


_SOURCES = {
    "transitions": _Transitions,
    "rollouts": _Rollouts,
    "contributions": _Contributions,
    "steps": _Steps,
    "greedy": _GreedySteps,
}


def fields_of(rollout):
    """Dictionary of the fields of a `Rollout` that are known."""
    fields = rollout._asdict()
    return {name: value for name, value in fields.items() if value is not None}


def _arrays(nest):
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), nest)
