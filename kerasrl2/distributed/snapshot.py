"""What a run over several processes is made of beside its learner, for checkpoints."""

import numpy as np
import tensorflow as tf

from kerasrl2.distributed.player import PlayerState
from kerasrl2.training.collect import begin_episodes
from kerasrl2.training.episodes import no_episodes

_NONE = -1


class Snapshot:
    """The state of all workers as the learner knows it, and as variables.

    After each block a worker sends the state of its environments. With that of the
    last block that was learned from, and the requests that are under way, a resumed run
    goes on without anything lost. With `Workers(ordered=True)` the weights of these
    requests are kept as well: then it goes on with the same bits.

    Environments in Python cannot be stored: only how many workers there were is.

    Args:
        loop: `DistributedLoop`.

    Attributes:
        groups: List, of each worker (or of all, if `joined`) a pair: `RunningEpisodes`
            and learner state, tensors.
        carries: List, of each worker `PlayerState` of arrays, or None at its beginning.
        generations: `[W]` int64, how many workers each slot had before this run.
        last_asked: List, of each worker the number of its latest request.
        block_bytes: Integer, bytes of the latest block; 0 before there was one.
    """

    def __init__(self, loop):
        self._loop, env = loop, loop.env
        count, agent = env.workers.count, loop.agent
        self._columns = env.num_envs
        self.groups = [self._begun() for _ in range(1 if loop.joined else count)]
        self.carries, self.last_asked = [None] * count, [0] * count
        self.generations = np.zeros([count], np.int64)
        self.block_bytes, self._pending = 0, []
        self._variables = {
            "workers/generations": tf.Variable(self.generations, trainable=False)
        }
        self._most = 0
        if env.in_graph:
            self._most = 0 if loop.joined else (env.workers.in_flight or 2 * count)
            self._add_variables(agent, env, count)

    def _begun(self):
        agent = self._loop.agent
        return [no_episodes(self._columns), agent.initial_learner_state(self._columns)]

    def _add_variables(self, agent, env, count):
        actor = begin_episodes(agent, env.local, tf.constant([0, 0]))
        rest = self._loop.rest_of_players()
        example = PlayerState(tf.zeros([], tf.int64), actor, rest)
        self._example = example
        requests = np.full([self._most, 2], _NONE, np.int64)
        known = env.workers.ordered and not self._loop.joined
        nests = {
            "players": [example] * count,
            "groups": self.groups,
            "begun": np.zeros([count], bool),
            "requests": requests,
            "weights": np.zeros(
                [self._most if known else 0, self._loop.flat.size], np.float32
            ),
        }
        for name, nest in nests.items():
            for index, leaf in enumerate(tf.nest.flatten(nest)):
                variable = tf.Variable(leaf, trainable=False)
                self._variables[f"workers/{name}/{index}"] = variable

    def variables(self):
        """Dictionary of names to variables, with values of the last `take`."""
        return self._variables

    def take(self):
        """Sets the variables to the present state."""
        loop = self._loop
        generations = self.generations.copy()
        if loop.pool is not None:
            generations += np.asarray(loop.pool.generations, np.int64)
        self._variables["workers/generations"].assign(generations)
        if not loop.env.in_graph:
            return
        self._set("groups", self.groups)
        players = [self._example if carry is None else carry for carry in self.carries]
        self._set("players", players)
        begun = [carry is not None for carry in self.carries]
        self._variables["workers/begun/0"].assign(begun)
        asked = list(loop.asked.values())[: self._most]
        asked = asked or self._pending_as_asked()
        requests = np.full([self._most, 2], _NONE, np.int64)
        for i, (slot, env_steps, *_) in enumerate(asked):
            requests[i] = slot, env_steps
        self._variables["workers/requests/0"].assign(requests)
        variable = self._variables["workers/weights/0"]
        if variable.shape[0]:
            rows = np.zeros(variable.shape, np.float32)
            for i, (*_, vector) in enumerate(asked):
                rows[i] = vector
            variable.assign(rows)

    def _pending_as_asked(self):
        return [(slot, steps, 0, vector) for slot, steps, vector in self._pending]

    def give_back(self):
        """Takes over the state that the variables have, after a checkpoint was read."""
        self.generations = self._variables["workers/generations"].numpy()
        if not self._loop.env.in_graph:
            self.begin_anew()
            return
        self.groups = self._get("groups", self.groups)
        count = len(self.carries)
        players = self._get("players", [self._example] * count)
        begun = self._variables["workers/begun/0"].numpy()
        self.carries = [
            tf.nest.map_structure(lambda t: t.numpy(), player) if known else None
            for player, known in zip(players, begun, strict=True)
        ]
        requests = self._variables["workers/requests/0"].numpy()
        rows = self._variables["workers/weights/0"].numpy()
        self._pending = [
            (int(slot), int(env_steps), rows[i] if len(rows) else None)
            for i, (slot, env_steps) in enumerate(requests)
            if slot != _NONE
        ]

    def take_pending(self):
        """List of `(slot, env steps, weights or None)`, to be asked for again."""
        pending, self._pending = self._pending, []
        return pending

    def begin_anew(self):
        """Forgets all episodes under way; workers get other seeds."""
        self.generations = self.generations + 1
        self.groups = [self._begun() for _ in self.groups]
        self.carries, self._pending = [None] * len(self.carries), []

    def forget(self, slot, generation):
        """A worker was replaced: its episodes under way are not counted."""
        del generation
        self.carries[slot] = None
        if not self._loop.joined:
            self.groups[slot] = self._begun()
            return
        size = self._loop.env.local.num_envs
        rows = np.arange(self._columns) // size == slot

        def cleared(old, new):
            mask = tf.reshape(rows, [-1] + [1] * (len(old.shape) - 1))
            return tf.where(mask, new, old)

        self.groups[0] = tf.nest.map_structure(cleared, self.groups[0], self._begun())

    def _set(self, name, nest):
        for index, leaf in enumerate(tf.nest.flatten(nest)):
            self._variables[f"workers/{name}/{index}"].assign(leaf)

    def _get(self, name, nest):
        leaves = [
            self._variables[f"workers/{name}/{index}"].value()
            for index in range(len(tf.nest.flatten(nest)))
        ]
        return tf.nest.pack_sequence_as(nest, leaves)
