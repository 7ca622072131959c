"""The loop of a learner whose environments are played by workers elsewhere."""

from kerasrl2._startup import native_chatter_kept_back

import itertools
import math
import time
from functools import partial

import numpy as np
import tensorflow as tf

from kerasrl2.distributed.flat import FlatVariables, policy_variables
from kerasrl2.distributed.player import Place
from kerasrl2.distributed.sending import Order, agent_bytes, objects_used
from kerasrl2.distributed.snapshot import Snapshot
from kerasrl2.errors import NonFiniteError
from kerasrl2.training.collect import ActorState
from kerasrl2.training.programs import Program
from kerasrl2.training.threads import of_worker
from kerasrl2.types import Rollout

_BROADCAST_SECONDS = 0.05  # at most that often, unless workers are served in turn
_SHARE_OF_STORE = 0.25


class DistributedLoop:
    """Mixin for a `CompiledLoop`: iterations on what workers have played.

    An iteration takes a block from the worker that has waited longest, or with
    `joined` one from each, learns from it, and asks for another one. Requests have
    numbers; each is answered once and counted once, also if a worker ends.

    A subclass defines `kind` and `absorb`.

    Attributes:
        kind: String, what workers hand over: see `Player`.
        joined: Boolean, whether the blocks of all workers are learned from together,
            and played with the same weights.
        pool: What answers requests, or None before `compile`.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.PPO.for_env("CartPole-v1", seed=0)
    >>> loop = agent.loop_on("CartPole-v1", num_envs=4, workers=2)
    >>> isinstance(loop, DistributedLoop), loop.joined, loop.env.num_envs
    (True, True, 8)
    >>> loop.pool is None
    True
    """

    kind, joined = "rollouts", False

    def start(self):
        super().start()
        self.pool = None
        self.flat = FlatVariables(policy_variables(self.agent))
        self._read = tf.function(self.flat.read, autograph=False)
        self._numbers = itertools.count(1)
        self._version, self._ref, self._sent_at = 0, None, -np.inf
        self._vector = None
        self.asked = {}  # numbers to (slot, env steps, version, vector)
        self._spent = [0.0, 0.0, 0.0, 0]  # seconds, of waiting, lag, blocks
        self.snapshot = Snapshot(self)

    # What `CompiledLoop` has

    def _forget_program(self):
        super()._forget_program()
        self._block_program = None

    def state(self):
        state = super().state()
        more = self.snapshot.variables()
        return state._replace(variables={**state.variables, **more})

    def variables_by_name(self):
        self.snapshot.take()
        return {**super().variables_by_name(), **self.snapshot.variables()}

    def restored(self):
        """Goes on from the variables of a checkpoint."""
        self._stop()
        self.snapshot.give_back()

    def restart_episodes(self):
        """New workers, which begin new episodes with other seeds."""
        self._stop()
        self.snapshot.begin_anew()

    def new_report(self):
        super().new_report()
        self._spent = [0.0, 0.0, 0.0, 0]

    def progress_logs(self):
        seconds, waited, lag, blocks = self._spent
        return {
            "updates_per_second": float(self.carry.updates) / max(seconds, 1e-9),
            "lag": lag / max(blocks, 1),
            "learner_waits": waited / max(seconds, 1e-9),
        }

    def compile(self):
        """Makes the workers, which compile what they play."""
        if self.pool is not None:
            return
        self.pool = self.make_pool()
        self.env.pool = self.pool
        self.pool.wait_until_ready()
        self._send_pending()

    def rest_of_players(self):
        """What `PlayerState.rest` is like."""
        return ()

    def make_pool(self):
        """The `Pool`; workers begin to prepare."""
        from kerasrl2.distributed.pool import Pool

        data = agent_bytes(self.agent)
        workers = self.env.workers
        order = Order(
            agent=data,
            load=self.agent.loader(),
            custom_objects=objects_used(data, workers.custom_objects),
            make_env=self.env.recipe,
            kind=self.kind,
            place=None,
            steps=self.vector_steps,
            xla=self.agent.xla,
            layout=self.flat.layout,
            threads=max(1, int(workers.cpus)),
        )
        return Pool(workers, partial(self._order_for, order), self._replaced)

    def _order_for(self, order, slot, generation):
        generation += int(self.snapshot.generations[slot])
        seed = int(self._seed)
        place = Place(slot, self.env.workers.count, generation, seed)
        return order._replace(place=place)

    def run(self, num_iterations, until=None):
        """Makes `num_iterations` iterations; as `CompiledLoop.run`.

        Raises:
            EnvironmentFailure: The environment of a worker raised.
            NonFiniteError: NaN or infinity; nothing was learned from it.
        """
        self.compile()
        self.guard.clear()
        started = time.perf_counter()
        values = self._values()
        try:
            for _ in range(num_iterations):
                if until is not None and int(values.env_steps) >= until:
                    break
                values = self._iteration(values)
                if self.tells_episodes and np.any(values.ended.lengths):
                    break
        except BaseException:
            self.guard.clear()
            raise
        finally:
            tf.nest.map_structure(lambda v, x: v.assign(x), self.carry, values)
            self.agent.env_steps.assign(values.env_steps)
            self._spent[0] += time.perf_counter() - started
        return self.report()

    # An iteration

    def _iteration(self, values):
        """A block of one worker, or of each, learned from; the next `Carry`."""
        slots = range(self.env.workers.count)
        started = time.perf_counter()
        if self.joined:
            self._ask_all(slots, values)
            numbers = list(self.asked)
            blocks = [self._take(number) for number in numbers]
        else:
            self._fill(values)
            ordered = self.env.workers.ordered
            number = next(iter(self.asked)) if ordered else None
            blocks = [self._take(number)]
        self._spent[1] += time.perf_counter() - started
        slot = blocks[0][0]
        group = self.snapshot.groups[0 if self.joined else slot]
        values = values._replace(episodes=group[0], learner_state=group[1])
        fields, td_error = _side_by_side([block for _, block in blocks])
        values = self.absorb(values, fields, td_error, slot)
        self.snapshot.groups[0 if self.joined else slot] = [
            values.episodes, values.learner_state
        ]  # fmt: skip
        self.raise_found(values, slot)
        return values

    def _take(self, number):
        """`(slot, Block)` of an answer."""
        reply = self.pool.take(number)
        _, _, version, _ = self.asked.pop(reply.number)
        self._spent[2] += self._version - version
        self._spent[3] += 1
        block = reply.value
        leaves = tf.nest.flatten((block.fields, block.td_error))
        self.snapshot.block_bytes = sum(leaf.nbytes for leaf in leaves)
        self.env.take_infos(reply.slot, block.infos)
        if self.env.in_graph:
            self.snapshot.carries[reply.slot] = block.carry
        return reply.slot, block

    def _ask_all(self, slots, values):
        self._broadcast(now=True)
        waiting = {slot for slot, *_ in self.asked.values()}
        for slot in slots:
            if slot not in waiting:
                self._ask(slot, int(values.env_steps))
        self.asked = dict(sorted(self.asked.items(), key=lambda item: item[1][0]))

    def _fill(self, values):
        """Asks for as many blocks as may be in flight, of those who have fewest."""
        self._broadcast(now=self.env.workers.ordered)
        count = self.env.workers.count
        limit = self.requests_in_flight()
        while len(self.asked) < limit:
            open_ = [slot for slot, *_ in self.asked.values()]
            slot = min(range(count), key=lambda s: (open_.count(s), self._last(s)))
            ahead = len(self.asked) * self.steps_per_iteration
            self._ask(slot, int(values.env_steps) + ahead)

    def _last(self, slot):
        return self.snapshot.last_asked[slot]

    def requests_in_flight(self):
        """Integer, how many requests may be unanswered in all."""
        workers = self.env.workers
        if workers.in_flight is not None:
            return workers.in_flight
        wanted = 2 * workers.count
        room = _SHARE_OF_STORE * self.pool.store_bytes()
        size = self.snapshot.block_bytes or self._bytes_of_observations()
        return max(1, int(min(wanted, room / size)))

    def _bytes_of_observations(self):
        """Of a block: what is known of its size before there was one."""
        leaves = tf.nest.flatten(self.agent.observation_spec)
        row = sum(math.prod(x.shape) * tf.as_dtype(x.dtype).size for x in leaves)
        return max(1, 2 * row * self.steps_per_iteration)  # and next observations

    def _ask(self, slot, env_steps, begin=None):
        number = next(self._numbers)
        self.asked[number] = slot, env_steps, self._version, self._vector
        self.snapshot.last_asked[slot] = number
        keys = self.env.info_keys
        self.pool.submit(slot, number, "play", self._ref, env_steps, keys, begin)

    def _broadcast(self, now):
        """Makes the present weights available, if it is time to."""
        moment = time.monotonic()
        recent = moment - self._sent_at < _BROADCAST_SECONDS
        if recent and self._ref is not None and not now:
            return
        self._sent_at, self._vector = moment, self._read().numpy()
        self._version += 1
        self._ref = self.pool.put(self._vector)

    def _send_pending(self):
        """Asks again for what a checkpoint says was asked for."""
        begin = dict(enumerate(self.snapshot.carries))
        for slot, env_steps, vector in self.snapshot.take_pending():
            if vector is None:
                self._broadcast(now=self._ref is None)
            elif self._vector is None or not np.array_equal(vector, self._vector):
                self._version += 1
                self._vector, self._ref = vector, self.pool.put(vector)
            self._ask(slot, env_steps, begin.pop(slot, None))
        for slot, carry in begin.items():
            if carry is not None:  # nothing of it was under way
                number = next(self._numbers)
                self.pool.submit(slot, number, "begin", carry)
                self.pool.take(number)

    def _replaced(self, slot, generation):
        self.snapshot.forget(slot, generation)

    def _stop(self):
        self.env.stop()
        self.pool, self._ref, self.asked = None, None, {}

    # Learning

    def absorb(self, values, fields, td_error, slot):
        """The next `Carry` after a block.

        Args:
            values: `Carry` of tensors.
            fields: Dictionary, `Block.fields`.
            td_error: `[T, N]` float32 or `()`.
            slot: Integer, of the worker.
        """
        raise NotImplementedError

    def program(self, name, function, *example):
        """A function, compiled.

        Args:
            name: String, which of this class.
            function: Callable of tensors.
            *example: Arguments with the right shapes.
        """
        function = tf.function(
            function, jit_compile=bool(self.compiles_environment), autograph=False
        )
        state = self.state()
        with native_chatter_kept_back():
            return Program(function, example, state, self._key_of(name))

    def _key_of(self, name):
        """What else a program depends on; None where it may call an environment."""
        if not self.env.in_graph:
            return None
        return type(self), name, self.vector_steps, self.uses_xla, self.tells_episodes

    def raise_found(self, values, slot):
        """Raises `NonFiniteError`, with the worker, if the guard has a report."""
        names, iteration = list(self.agent.optimizers()), int(values.iteration)
        env = self.env if self.joined else self.env.local
        try:
            self.guard.raise_if_found(env, iteration, self.vector_steps, names)
        except NonFiniteError as error:
            if self.joined:
                raise
            raise of_worker(error, slot, self.env.workers.count) from error


def rollout_of(fields):
    """The `Rollout` of a dictionary of its fields."""
    return Rollout(**{"next_observation": None, **fields})


def actor_after(rollout):
    """The `ActorState` that a `Carry` of a learner has after a rollout."""
    return ActorState((), rollout.last_observation, rollout.last_policy_state)


# Where the environments are; others are `[T, N, ...]`.
_AXES = {"last_observation": 0, "policy_state": 0, "last_policy_state": 0}
_AXES |= {"value_of_row": 0, "target_of_row": 0, "moments": 2}


def _side_by_side(blocks):
    """Fields and TD errors of several blocks, as one of all their environments."""
    if len(blocks) == 1:
        return tensors((blocks[0].fields, blocks[0].td_error))
    fields = {}
    for name in blocks[0].fields:
        axis = _AXES.get(name, 1)
        parts = [block.fields[name] for block in blocks]
        fields[name] = tf.nest.map_structure(
            lambda *leaves, axis=axis: np.concatenate(leaves, axis), *parts
        )
    return tensors((fields, ()))


def tensors(nest):
    """Arrays as tensors."""
    return tf.nest.map_structure(tf.convert_to_tensor, nest)
