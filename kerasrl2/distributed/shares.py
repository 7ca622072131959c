"""Averaged gradients, the worker's side: gradients of its share of each minibatch."""

import tensorflow as tf

from kerasrl2.distributed.player import Block, Player, fields_of
from kerasrl2.permutations import random_permutation
from kerasrl2.types import OnPolicyBatch, Rollout

SIGNALS = "reward", "terminated", "truncated", "valid"


class SharePlayer(Player):
    """Plays rollouts and keeps them; hands over gradients of minibatches of them.

    Args as of `Player`.
    """

    def __init__(self, agent, env, kind, place, steps, jit_compile="auto"):
        super().__init__(agent, env, "rollouts", place, steps, jit_compile)
        del kind
        self.rows = env.num_envs * agent.rollout_length
        self.size = share_of(agent.batch_size, self.rows, place.workers)
        self.batch = None
        xla = bool(self.source.uses_xla)
        self._gradients = tf.function(
            self._share, jit_compile=xla, autograph=False, reduce_retracing=False
        )

    def _play(self, vector, env_steps, state):
        """Plays; fields are signals, moments of all minibatches, and the batch."""
        self.flat.write(vector)
        state, fields, _ = self.source.block(state, env_steps)
        agent, rollout = self.agent, Rollout(**fields)
        batch, _ = agent.prepare(
            rollout, agent.initial_learner_state(self.env.num_envs)
        )
        seed = self.source.learning_seed(state.iteration - 1)
        orders = self.orders(seed)
        given = {name: fields[name] for name in SIGNALS}
        given["observation"] = fields["observation"]
        given["moments"] = minibatch_moments(batch, orders, self.size)
        given |= {"value_of_row": batch.value, "target_of_row": batch.target}
        return state, (given, fields_of(batch), orders), ()

    def orders(self, seed):
        """`[E, rows]` int32, the rows in the order in which each pass visits them."""
        epochs = self.agent.num_epochs
        seed = tf.random.fold_in(seed, self.place.slot, alg="philox")
        seeds = tf.random.stateless_uniform(
            [epochs, 2], seed, None, None, tf.int32, alg="philox"
        )
        if self.size == self.rows:
            return tf.tile(tf.range(self.rows)[None], [epochs, 1])
        return tf.stack([random_permutation(self.rows, s) for s in tf.unstack(seeds)])

    def play(self, vector, env_steps, info_keys=()):
        self.compile()
        self.env.record_info(info_keys)
        with self.env.errors(afterwards=True):
            arguments = self._arguments(vector, env_steps)
            self.state, (given, *kept), _ = self._program(*arguments)
        self.batch, self._orders = kept
        if self.agent.observation_normalizer is None:
            given.pop("observation")  # nobody asks, and it may be large
        fields = {name: value.numpy() for name, value in given.items()}
        carry = ()
        if self.env.in_graph:
            carry = tf.nest.map_structure(lambda x: x.numpy(), self.state)
        return Block(fields, (), carry, self.env.finished_info())

    def gradients(self, vector, place, moments):
        """Gradients of this worker's share of a minibatch.

        Args:
            vector: `[flat.size]` float32, the weights.
            place: Pair of integers, pass and first row of the share.
            moments: `[3]` float64, `moments_of` the advantages of the whole minibatch.

        Returns:
            Dictionary: `count` (rows that count), `loss`, `gradient` (a vector), and
            `metrics`.
        """
        epoch, start = (tf.constant(number, tf.int32) for number in place)
        found = self._gradients(
            tf.convert_to_tensor(vector), epoch, start,
            tf.constant(moments, tf.float64), self.batch, self._orders,
        )  # fmt: skip
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), found)

    def _share(self, vector, epoch, start, moments, batch, orders):
        self.flat.write(vector)
        chosen = tf.slice(orders[epoch], [start], [self.size])
        minibatch = tf.nest.map_structure(lambda x: tf.gather(x, chosen), batch)
        minibatch = OnPolicyBatch(**{**_EMPTY, **minibatch})
        seed = tf.stack([epoch, start])
        found = self.agent.share_of_gradients(minibatch, moments, seed)
        values = [tf.cast(tf.convert_to_tensor(v), tf.float32) for v in found.values]
        return {
            "count": tf.cast(self.agent.counting_rows(minibatch), tf.float32),
            "loss": found.loss,
            "gradient": tf.concat([tf.reshape(v, [-1]) for v in values], axis=0),
            "metrics": dict(found.metrics),
        }


_EMPTY = {"observation": None}


def share_of(batch_size, rows, workers):
    """Integer, rows of a minibatch that each worker has.

    Raises:
        ValueError: Workers do not divide the minibatch, or shares the rollout.
    """
    whole = rows * workers if batch_size is None else batch_size
    size = whole // workers
    if size * workers != whole or not size or rows % size:
        raise ValueError(
            f"Expected `batch_size` to give each of {workers} workers the same share, "
            f"which divides its rollout of {rows} steps. Received: {batch_size}"
        )
    return size


def moments_of(advantage, valid):
    """`[..., 3]` float64: number, sum and sum of squares over the last axis."""
    valid = tf.cast(valid, tf.float64)
    advantage = tf.cast(advantage, tf.float64) * valid
    parts = valid, advantage, advantage**2
    return tf.stack([tf.reduce_sum(part, axis=-1) for part in parts], axis=-1)


def minibatch_moments(batch, orders, size):
    """`[E, J, 3]` float64, `moments_of` each minibatch of each pass.

    Args:
        batch: `OnPolicyBatch` of all rows.
        orders: `[E, rows]` int32.
        size: Integer, rows of a minibatch.
    """
    epochs, rows = orders.shape
    parts = [
        tf.reshape(tf.gather(x, orders), [epochs, rows // size, size])
        for x in (batch.advantage, batch.valid)
    ]
    return moments_of(*parts)


def normalized_by(advantage, moments):
    """Advantages with mean 0 and standard deviation 1, by `moments_of` more of them."""
    count, total, squares = tf.unstack(moments)
    count = tf.maximum(count, 1.0)
    mean = total / count
    deviation = tf.sqrt(tf.maximum(squares / count - mean**2, 0.0))
    centred = tf.cast(advantage, tf.float64) - mean
    return tf.cast(centred / (deviation + 1e-8), advantage.dtype)
