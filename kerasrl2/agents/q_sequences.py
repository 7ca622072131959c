"""Q-learning with networks that remember, from replayed sequences."""

import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2._numbers import Number
from kerasrl2.agents.remembering import has_state
from kerasrl2.layers.sequences import where_reset
from kerasrl2.losses import value_of_action
from kerasrl2.statistics import masked_mean
from kerasrl2.training.recurrence import exchanged, flat, unroll_network
from kerasrl2.types import Memory, Transition

SEQUENCE_LENGTH, BURN_IN = 16, 4


class SequenceReplay:
    """Mixin: learns from sequences, if the network has a state, as R2D2 does.

    Kapturowski et al. (2019), https://openreview.net/forum?id=r1lyTjAqYX. The replay
    buffer keeps the state that the policy had before each step, beside the action. A
    sequence begins with that state, which weights of before have made; `burn_in` steps
    renew it, and the next `sequence_length` are learned from, each with its TD error.
    Where an episode ends within a sequence the state is set back, as it was in play.

    Attributes:
        eta: Number in [0, 1]: the priority of a sequence is `eta` times the largest of
            its TD errors' sizes and `1 - eta` times their mean.
    """

    eta = Number(0.0, 1.0)

    def _set_sequences(self, sequence_length, burn_in, eta):
        """Keeps the constructor's arguments; None takes the defaults of this file."""
        if has_state(self.network):
            sequence_length = sequence_length or SEQUENCE_LENGTH
            burn_in = BURN_IN if burn_in is None else burn_in
            check_positive_integer("sequence_length", sequence_length)
            check_range("burn_in", burn_in, 0)
            if self.action_values.takes_fractions:
                raise ValueError(
                    "Expected a recurrent network with 'scalar', 'categorical' or "
                    "'quantile' values. Received: "
                    f"{type(self.action_values).__name__}, whose network also takes "
                    "fractions."
                )
        elif (sequence_length, burn_in) != (None, None):
            raise ValueError(
                "Expected `sequence_length` and `burn_in` with a recurrent network "
                f"alone. Received: sequence_length={sequence_length}, burn_in="
                f"{burn_in}, and {self.network.name!r} without state. Use "
                "`for_env(..., recurrent='lstm')`, or leave them out."
            )
        self.sequence_length, self.burn_in, self.eta = sequence_length, burn_in, eta

    @property
    def keeps_states(self):
        """Whether a rollout keeps the policy's states, for the replay buffer."""
        return self.remembers

    @property
    def stored_action(self):
        """`tf.TensorSpec` of an action; of a recurrent policy with its state."""
        action = super().stored_action
        if not self.remembers:
            return action
        state = tf.nest.map_structure(
            lambda leaf: tf.TensorSpec(leaf.shape[1:], leaf.dtype),
            self.initial_state(1),
        )
        return {"action": action, "policy_state": state}

    def read(self, network, observation, training, seed=None, state=None):
        """Outputs of a network for observations, which are normalised."""
        observation = self.normalized(observation)
        if state is None:
            return self.action_values.read(network, observation, training, seed)
        return tf.cast(network(observation, state, training=training)[0], tf.float32)

    def read_step(self, observation, policy_state, training):
        """`(outputs, policy_state)` of the network that is trained."""
        if not has_state(self.network):
            return self.read(self.q_network, observation, training), policy_state
        outputs, policy_state = self.network_outputs(
            observation, policy_state, training
        )
        return tf.cast(outputs[0], tf.float32), policy_state

    def with_states(self, rollout):
        """A `Rollout` whose actions hold the policy's states, if it has any."""
        if not self.remembers:
            return rollout
        action = {"action": rollout.action, "policy_state": rollout.policy_states}
        return rollout._replace(action=action)

    def replayed(self, seed):
        index, batch = super().replayed(seed)
        if not self.remembers:
            return index, batch
        length = self.burn_in + self.sequence_length
        return index, self.buffer.sequences(index, length, batch.weight, self.gamma)

    def counting_rows(self, batch):
        """Steps behind the burn-in, with a network that remembers."""
        if not self.remembers:
            return super().counting_rows(batch)
        return tf.math.count_nonzero(batch.valid[:, self.burn_in :])

    def loss_of_sequences(self, batch, seeds):
        """`compute_loss` of `types.ReplayedSequences`."""
        outputs, transitions, valid = self.unrolled(batch)
        target = self.targets(transitions, seeds[:2])
        values, action = self.action_values, transitions.action
        outputs = tf.cast(outputs, tf.float32)
        loss, td_error = values.loss(outputs, action, target)
        q_value = value_of_action(values.expected(outputs), action)
        loss, priority = self.mean_over_sequences(loss, td_error, valid, batch.weight)
        return loss, {"td_error": priority, "q_value": masked_mean(q_value, valid)}

    def unrolled(self, batch):
        """What a loss needs of `types.ReplayedSequences`, behind their burn-in.

        Args:
            batch: `ReplayedSequences` of `[B, L, ...]`.

        Returns:
            `(outputs, transitions, valid)`, of `R = B * (L - burn_in)` rows: the
            network's outputs `[R, ...]`, which receive the gradient; a `Transition` of
            `n_step` steps; and `[R]` bool.
        """
        stored = tf.nest.map_structure(lambda x: x[:, 0], batch.action["policy_state"])
        action = batch.action["action"]
        batch = batch._replace(action=action, weight=())
        batch = tf.nest.map_structure(exchanged, batch)  # [L, B, ...]
        seen, resets = self._normalized(batch.observation), batch.ended
        burn_in = self.burn_in
        start = {}
        for name, network in self._both():
            start[name] = _after(network, _part(seen, burn_in), stored, resets)
        batch, seen = _part((batch, seen), burn_in, rest=True)
        outputs, online = unroll_network(
            self.q_network, seen, start["online"], batch.ended, training=True
        )
        _, target = unroll_network(
            self.target_network, seen, start["target"], batch.ended
        )
        memory = Memory(
            _before(self.target_network, start["target"], target, batch.ended),
            target,
            tf.nest.map_structure(tf.stop_gradient, online),
        )
        reward, discount, last = n_step_rows(
            batch.reward, batch.discount, batch.ended, self.buffer.n_step
        )
        following, *after = tf.nest.map_structure(
            lambda leaf: _steps(leaf, last),
            (batch.next_observation, memory.next_target, memory.next_online),
        )
        rows = (batch.observation, batch.action, reward, discount, following)
        rows = tf.nest.map_structure(flat, rows)
        memory = Memory(*tf.nest.map_structure(flat, (memory.target, *after)))
        transitions = Transition(*rows, weight=(), memory=memory)
        return flat(outputs[0]), transitions, flat(batch.valid)

    def mean_over_sequences(self, loss, td_error, valid, weight):
        """The loss of sequences, and their priorities.

        Args:
            loss: `[R]` float32, of the steps that are learned from, time-major.
            td_error: `[R]` float32.
            valid: `[R]` bool.
            weight: `[B]` float32.

        Returns:
            `(loss, priority)`: the mean over valid steps, weighted, and `[B]` float32.
        """
        shape = [-1, weight.shape[0]]
        valid = tf.cast(tf.reshape(valid, shape), tf.float32)
        loss = tf.reshape(loss, shape) * valid * weight
        size = tf.abs(tf.reshape(td_error, shape)) * valid
        steps = tf.maximum(tf.reduce_sum(valid, axis=0), 1.0)
        mean = tf.reduce_sum(size, axis=0) / steps
        priority = self.eta * tf.reduce_max(size, axis=0) + (1.0 - self.eta) * mean
        total = tf.maximum(tf.reduce_sum(valid), 1.0)
        return tf.reduce_sum(loss) / total, priority

    def _both(self):
        return ("online", self.q_network), ("target", self.target_network)

    def _normalized(self, observation):
        """Normalised `[L, B, ...]`."""
        leading = tf.nest.flatten(observation)[0].shape[:2]
        rows = self.normalized(tf.nest.map_structure(flat, observation))
        return tf.nest.map_structure(
            lambda leaf: tf.reshape(leaf, [*leading, *leaf.shape[1:]]), rows
        )


def n_step_rows(reward, discount, ended, n_step):
    """Sums of the next `n_step` rewards, within an episode and a sequence.

    Args:
        reward: `[T, B]` float32.
        discount: `[T, B]` float32, `gamma * (1 - terminated)`.
        ended: `[T, B]` bool, whether nothing of the same episode follows.
        n_step: Integer >= 1.

    Returns:
        `(reward, discount, last)`: the sums, the discount of the value after them, both
        `[T, B]` float32, and `[T, B]` int32, the step whose successor that is of.

    Example:
    >>> one, off = tf.ones([3, 1]), tf.zeros([3, 1], tf.bool)
    >>> reward, discount, last = n_step_rows(one, 0.5 * one, off, n_step=2)
    >>> [tf.reshape(x, [-1]).numpy().tolist() for x in (reward, discount, last)]
    [[1.5, 1.5, 1.0], [0.25, 0.25, 0.5], [1, 2, 2]]
    """
    length = reward.shape[0]
    last = tf.tile(tf.range(length)[:, None], [1, reward.shape[1]])
    goes_on, one_reward, one_discount = ~ended, reward, discount
    for k in range(1, min(n_step, length)):

        def later(tensor, k=k):
            return tf.pad(tensor[k:], [[0, k], [0, 0]])

        goes_on &= later(tf.ones_like(ended))
        reward += tf.where(goes_on, discount * later(one_reward), 0.0)
        discount = tf.where(goes_on, discount * later(one_discount), discount)
        last += tf.cast(goes_on, tf.int32)
        goes_on &= later(~ended)
    return reward, discount, last


def _after(network, seen, stored, resets):
    """The state after the burn-in; no gradient."""
    length = tf.nest.flatten(seen)[0].shape[0]
    if not length:
        return stored
    _, states = unroll_network(network, seen, stored, resets[:length])
    first = network.initial_state(resets.shape[1])
    state = tf.nest.map_structure(lambda leaf: tf.stop_gradient(leaf[-1]), states)
    return where_reset(resets[length - 1], first, state)


def _before(network, start, states, resets):
    """`[T, B, ...]`, the states before each step, from those after it."""
    states = where_reset(resets, network.initial_state(resets.shape[1]), states)
    return tf.nest.map_structure(
        lambda one, leaf: tf.concat([one[None], leaf[:-1]], axis=0), start, states
    )


def _steps(leaf, step):
    """Rows of `[T, B, ...]` of the steps `[T, B]`."""
    rows = step * leaf.shape[1] + tf.range(leaf.shape[1])
    return tf.gather(flat(leaf), rows)


def _part(nest, length, rest=False):
    """The first steps of a nest of `[L, ...]`, or the rest."""
    of = slice(length, None) if rest else slice(length)
    return tf.nest.map_structure(lambda leaf: leaf[of], nest)
