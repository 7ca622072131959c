"""Prioritized replay in TensorFlow variables."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_positive_integer, check_range
from kerasrl2.buffers._inputs import check_pairs, indices, numbers
from kerasrl2.buffers._ranking import RankTable
from kerasrl2.buffers._variables import as_tensor, uniform
from kerasrl2.buffers.replay import ReplayBuffer
from kerasrl2.buffers.sum_tree import SumTree

PRIORITIZATIONS = ("proportional", "rank")
NORMALIZATIONS = ("batch", "buffer")
DRAWS, BETA_STEPS, STALE, REFUSED = range(4)  # counters, in one variable


@keras.saving.register_keras_serializable(package="kerasrl2")
class PrioritizedReplayBuffer(ReplayBuffer):
    """Replay that draws transitions by the size of their latest TD error.

    Schaul et al. (2016), https://arxiv.org/abs/1511.05952. Equation (1):
    `P(i) = p_i**alpha / sum_k p_k**alpha`, where `p_i = |delta_i| + epsilon`
    (proportional) or `1 / rank(i)` (rank-based). The bias is corrected by the weights
    `w_i = (N P(i))**-beta`, section 3.4, divided by the largest one.

    Inside a graph that XLA does not compile, call it through `tf.function(...,
    jit_compile=True)`: 50 us instead of 500 to draw and update 64 of 10**5.

    - A new transition gets the largest `p` seen so far, at least 1, as in algorithm 1;
      this maximum never falls.
    - A TD error for a transition that was displaced since it was drawn changes nothing
      and is counted in `stale_updates`.
    - NaN and infinite TD errors are refused: eagerly with a `ValueError`, when nothing
      is changed; in a graph the row is left out and counted in `refused_updates`.
    - Beta rises linearly from `beta` to 1 over `beta_steps` calls of `sample`, without
      a jump, and stays there. With None, `set_training_length` says over how many;
      until then beta does not move.
    - Ranks come from sorting all keys after every `sort_every` changes, as the paper
      does from time to time; in between, a changed key gets the rank it would have had
      then. Sorting takes 15 ms for 10**5 keys and 250 ms for 10**6.

    Args:
        capacity: Integer >= 1, transitions; rounded up to a multiple of `num_envs`.
        num_envs: Integer or None, `N`. None takes it from `build` or the first `add`.
        prioritization: `"proportional"` or `"rank"`.
        alpha: Float >= 0, 0 is uniform.
        beta: Float in [0, 1], the first one.
        beta_steps: Integer >= 1 or None, calls of `sample` until beta is 1.
        epsilon: Float >= 0, added to `|delta|` before alpha is applied, in units of
            return. With 0, a transition of TD error 0 is never drawn again.
        normalization: `"batch"` divides by the largest weight of the batch, `"buffer"`
            by the largest of all transitions, so that a weight does not depend on its
            batch.
        stratified: Boolean, whether a batch takes one draw from each of `B` equal
            pieces of the total priority, as in appendix B.2.1, or `B` independent ones.
        sort_every: Integer >= 1 or None, for `"rank"`, in changed keys. None means the
            capacity.
        **storage: `n_step`, `gamma`, `frame_stack`, `episode_length`, `seed`, `name` of
            `ReplayBuffer`.

    Attributes:
        tree: `SumTree` over `p**alpha`, None before `build`.
        max_priority: float64 variable, the largest `p` seen.

    Example:
    >>> buffer = PrioritizedReplayBuffer(4, alpha=1.0, beta=1.0, epsilon=0.0)
    >>> for t in range(4):
    ...     index = buffer.add([[t]], [t], [1.0], [False], [False], [[t + 1]])
    >>> buffer.update_priorities([0, 1, 2, 3], [1.0, -4.0, 2.0, 3.0])
    >>> buffer.probability([0, 1, 2, 3]).numpy().tolist()
    [0.1, 0.4, 0.2, 0.3]
    >>> index, batch = buffer.sample(64, seed=[0, 0])
    >>> float(batch.weight[index == 1][0])
    0.25
    """

    def __init__(
        self,
        capacity,
        num_envs=None,
        *,
        prioritization="proportional",
        alpha=0.6,
        beta=0.4,
        beta_steps=None,
        epsilon=0.01,
        normalization="batch",
        stratified=True,
        sort_every=None,
        **storage,
    ):
        super().__init__(capacity, num_envs, **storage)
        check_priorities(
            prioritization, alpha, beta, beta_steps, epsilon, normalization, sort_every
        )
        self.prioritization, self.normalization = prioritization, normalization
        self.alpha, self.initial_beta, self.epsilon = alpha, beta, epsilon
        self.stratified, self._sort_every = bool(stratified), sort_every
        self.tree = self._ranks = None
        self._bytes_per_step = bytes_of_priority(prioritization, normalization)
        self.max_priority = _variable(1.0, tf.float64, "max_priority")
        self._given_beta_steps = beta_steps
        start = [0, beta_steps or 0, 0, 0]  # in the order of the constants above
        self._counters = _variable(start, tf.int64, "counters")

    def _make_ring(self):
        with tf.init_scope():
            self.tree = SumTree(self.capacity, self.normalization == "buffer")
            if self.prioritization == "rank":
                self._ranks = RankTable(self.capacity, self.alpha)
        return super()._make_ring()

    @property
    def stale_updates(self):
        """Scalar int64, updates for displaced transitions so far."""
        return self._counters.read_value()[STALE]

    @property
    def refused_updates(self):
        """Scalar int64, NaN and infinite TD errors in graphs so far."""
        return self._counters.read_value()[REFUSED]

    def sample(self, batch_size, seed=None, gamma=None):
        """Draws with replacement, in proportion to the priorities; moves beta.

        Args:
            batch_size: Integer, `B`.
            seed: `[2]` int, stateless seed, or None for the buffer's own generator.
            gamma: Number or scalar tensor (float64 or float32), in place of the
                buffer's own `gamma` in this call; None takes the buffer's.

        Returns:
            `(index, Transition)`: `[B]` int64, numbers that are never used for another
            transition (hand them to `update_priorities`), and what they name, with
            importance-sampling weights. A buffer without positive priorities raises a
            `ValueError` eagerly; in a graph it gives indices of -1 with weights of 0.
        """
        self._check_sample(batch_size)
        self._sort_if_due()
        total = self.tree.total()
        fraction = uniform([batch_size], self._next_seed() if seed is None else seed)
        if self.stratified:
            fraction = (tf.range(batch_size, dtype=tf.float64) + fraction) / batch_size
        row, priority = self.tree.lookup(fraction * total)
        if tf.executing_eagerly() and total == 0.0:
            raise ValueError("Expected a positive priority. Received: only zeros")
        weight = self._weights(priority)
        self._count(draws=1)
        index = self._ring.index_of(row)
        return index, self._ring.get(index, weight, self._powers(gamma), row)

    def update_priorities(self, index, td_error):
        """Sets the priorities of transitions to those of their TD errors.

        Args:
            index: `[B]` int64, from `sample` or `add`; rows of -1 are left out. Of
                equal ones the largest `|delta|` wins.
            td_error: `[B]` float, `delta`, of either sign.

        Raises:
            ValueError: Outside of graphs, for an index that was never handed out, a
                number of TD errors that differs, or one that is not finite. Inside of
                them such rows are left out and counted.
        """
        self._check_built()
        index = self._handed_out(index)
        numbers("td_error", td_error, self._array)
        td_error = as_tensor(td_error, tf.float64)
        check_pairs(index, "td_error", td_error)
        named = index >= 0
        refused = self._refused(td_error, named)
        held = self.holds(index)
        self._count(stale=tf.math.count_nonzero(named & ~held), refused=refused)
        mask = held & tf.math.is_finite(td_error)
        key = tf.where(mask, tf.abs(td_error) + self.epsilon, 0.0)
        self._raise_maximum(key, mask)
        self._set(index, key, mask)

    def probability(self, index):
        """`P(i)` of the transitions `[B]`, `[B]` float64; 0 if displaced."""
        self._check_built()
        index = indices(index, self._array)
        priority = self.tree.get(self._ring.row_of(index))
        return tf.where(self.holds(index), priority / self.tree.total(), 0.0)

    def beta(self):
        """What the next `sample` uses, scalar float64."""
        counters = self._counters.read_value()
        length = counters[BETA_STEPS]
        done = tf.cast(tf.minimum(counters[DRAWS], length), tf.float64)
        fraction = done / tf.cast(tf.maximum(length, 1), tf.float64)
        return self.initial_beta + (1.0 - self.initial_beta) * fraction

    def set_training_length(self, num_samples):
        """Resolves `beta_steps=None`; does nothing if it was given.

        Args:
            num_samples: Integer >= 1, calls of `sample` at whose end beta is 1.
        """
        check_positive_integer("num_samples", num_samples)
        if self._given_beta_steps is None:
            counters = self._counters.read_value()
            change = num_samples - counters[BETA_STEPS]
            self._count(beta_steps=change)

    def clear(self):
        """Forgets all transitions. The largest priority and beta stay."""
        super().clear()
        self.tree.clear()
        if self._ranks is not None:
            self._ranks.clear()

    def get_config(self):
        return {
            **super().get_config(),
            "prioritization": self.prioritization,
            "alpha": self.alpha,
            "beta": self.initial_beta,
            "beta_steps": self._given_beta_steps,
            "epsilon": self.epsilon,
            "normalization": self.normalization,
            "stratified": self.stratified,
            "sort_every": self._sort_every,
        }

    # Parts

    def _checked_errors(self, td_error):
        numbers("td_error", td_error, self._array)
        td_error = as_tensor(td_error, tf.float64)
        self._refused(td_error, tf.ones_like(td_error, tf.bool))
        return td_error

    def _prioritize_new(self, index, displaced, td_error):
        first = highest = tf.fill([self.num_envs], self.max_priority.read_value())
        if td_error is not None:
            finite = tf.math.is_finite(td_error)
            self._count(refused=tf.math.count_nonzero(~finite))
            first = tf.where(finite, tf.abs(td_error) + self.epsilon, highest)
            self._raise_maximum(first, index >= 0)
        displaced = tf.reshape(displaced, [-1])
        empty = -tf.ones_like(displaced, tf.float64)
        index_and_displaced = tf.concat([index, displaced], 0)
        # A new transition may have the row of a displaced one (-1): the tree keeps the
        # larger key of a row, which is the new one.
        self._set(
            index_and_displaced, tf.concat([first, empty], 0), index_and_displaced >= 0
        )

    def _set(self, index, key, mask):
        """Writes `p` `[B]`, -1 for none, of transitions into the tree."""
        row = self._ring.row_of(index)
        if self._ranks is not None:
            priority = self._ranks.set(row, key, mask)
        else:
            priority = tf.where(key >= 0.0, tf.maximum(key, 0.0) ** self.alpha, 0.0)
        self.tree.update(row, priority, mask)

    def _weights(self, priority):
        """`[B]` float32 importance-sampling weights of leaves `[B]`, at most 1."""
        drawn = priority > 0.0
        if self.normalization == "buffer":
            least = self.tree.minimum()
        else:
            least = tf.reduce_min(tf.where(drawn, priority, priority.dtype.max))
        # N and the total cancel: the largest weight is that of the least priority.
        ratio = tf.where(drawn, least / tf.where(drawn, priority, 1.0), 0.0)
        weight = tf.cast(ratio, tf.float32) ** tf.cast(self.beta(), tf.float32)
        return tf.where(drawn, weight, 0.0)

    def _raise_maximum(self, key, mask):
        largest = tf.reduce_max(tf.where(mask, key, 0.0))
        self.max_priority.assign(tf.maximum(self.max_priority, largest))

    def _refused(self, td_error, mask):
        """How many TD errors are not finite; raises eagerly."""
        bad = mask & ~tf.math.is_finite(td_error)
        if tf.executing_eagerly() and tf.reduce_any(bad):
            raise ValueError(f"Expected finite TD errors. Received: {td_error.numpy()}")
        return tf.math.count_nonzero(bad)

    def _count(self, draws=0, beta_steps=0, stale=0, refused=0):
        changes = [draws, beta_steps, stale, refused]
        self._counters.assign_add(tf.stack([tf.cast(x, tf.int64) for x in changes]))

    def _sort_if_due(self):
        if self._ranks is None:
            return
        limit = self._sort_every or self.capacity

        def sort(_):
            self._ranks.refresh(self.tree)
            return (tf.constant(False),)

        # A loop of at most one round: XLA would copy the tree around a condition.
        tf.while_loop(lambda due: due, sort, (self._ranks.pending >= limit,))


def check_priorities(
    prioritization, alpha, beta, beta_steps, epsilon, normalization, sort_every
):
    """Checks what both back ends' constructors take."""
    check_choice("prioritization", prioritization, PRIORITIZATIONS)
    check_choice("normalization", normalization, NORMALIZATIONS)
    check_range("alpha", alpha, 0.0)
    check_range("beta", beta, 0.0, 1.0)
    check_range("epsilon", epsilon, 0.0)
    for name, value in (("beta_steps", beta_steps), ("sort_every", sort_every)):
        if value is not None:
            check_positive_integer(name, value)


def bytes_of_priority(prioritization, normalization):
    """Bytes a transition takes in trees of fan-out 4, and in tables of ranks."""
    tree = 8 * 4 / 3 + (8 / 3 if normalization == "buffer" else 0)
    return tree + (16 if prioritization == "rank" else 0)


def _variable(value, dtype, name):
    return tf.Variable(value, trainable=False, dtype=dtype, name=name)
