"""The replay buffers in NumPy: for loops outside graphs, and on disk."""

import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._seeds import drawn_seed
from kerasrl2.buffers._base import Replay
from kerasrl2.buffers._inputs import check_pairs, indices, numbers
from kerasrl2.buffers._layout import available_memory
from kerasrl2.buffers._numpy_ring import Arrays, NumpyRing
from kerasrl2.buffers.prioritized import check_priorities
from kerasrl2.types import Transition


class NumpyReplayBuffer(Replay):
    """`ReplayBuffer` in NumPy arrays: the same arguments, methods and transitions.

    Returns arrays. For your own loop in Python, where it is several times as fast as
    TensorFlow's op by op, and for buffers larger than memory.

    Args:
        capacity: Integer >= 1, transitions; rounded up to a multiple of `num_envs`.
        num_envs: Integer or None.
        n_step: Integer >= 1.
        gamma: Float in [0, 1].
        frame_stack: Integer >= 1, or a nest of them.
        episode_length: Integer or None.
        seed: Integer or None, of `sample` without a seed; None draws one.
        directory: Path or None. With a path, the arrays are files there, mapped into
            memory; a buffer of the same kind that is there already is continued.

    Example:
    >>> buffer = NumpyReplayBuffer(capacity=3)
    >>> for t in range(5):
    ...     index = buffer.add([[t]], [t], [1.0], [False], [False], [[t + 1]])
    >>> buffer.get([2, 3, 4]).action.tolist()
    [2, 3, 4]
    """

    def __init__(
        self,
        capacity,
        num_envs=None,
        *,
        n_step=1,
        gamma=0.99,
        frame_stack=1,
        episode_length=None,
        seed=None,
        directory=None,
    ):
        self._configure(capacity, num_envs, n_step, gamma, frame_stack, episode_length)
        self.directory = directory
        self._random = np.random.default_rng(drawn_seed() if seed is None else seed)

    def as_dataset(self, batch_size, steps=None, with_index=False):
        """`tf.data.Dataset` of batches. See `ReplayBuffer.as_dataset`."""
        self._check_built()

        def batches():
            drawn = 0
            while steps is None or drawn < steps:
                index, batch = self.sample(batch_size)
                drawn += 1
                yield (index, batch) if with_index else batch

        def leaf(spec):
            return tf.TensorSpec([batch_size, *spec.shape], spec.dtype)

        observation = tf.nest.map_structure(leaf, self.layout.observation)
        action = tf.nest.map_structure(leaf, self.layout.action)
        number = tf.TensorSpec([batch_size], tf.float32)
        batch = Transition(observation, action, number, number, observation, number)
        index = tf.TensorSpec([batch_size], tf.int64)
        signature = (index, batch) if with_index else batch
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        length = tf.data.INFINITE_CARDINALITY if steps is None else steps
        return dataset.apply(tf.data.experimental.assert_cardinality(length))

    def flush(self):
        """Writes a buffer on disk through to the files."""
        self._check_built()
        self._arrays.flush()

    def _make_ring(self):
        kind = f"{type(self).__name__} {self.capacity}, {self.layout}"
        self._arrays = Arrays(self.directory, kind)
        return NumpyRing(self.layout, self._arrays)

    def _free_bytes(self):
        if self.directory is None:
            return available_memory()
        Path(self.directory).mkdir(parents=True, exist_ok=True)
        there = sum(path.stat().st_size for path in Path(self.directory).glob("*.npy"))
        return shutil.disk_usage(self.directory).free + there

    def _stack_steps(self, num_steps, add):
        return np.stack([add(t) for t in range(num_steps)])

    @staticmethod
    def _array(value, dtype=None):
        return np.asarray(value, dtype)

    @staticmethod
    def _uniform(shape, seed):
        if not isinstance(seed, np.random.Generator):
            seed = np.random.default_rng(np.asarray(seed).astype(np.uint32))
        return seed.random(shape)

    def _next_seed(self):
        return self._random


class NumpyPrioritizedReplayBuffer(NumpyReplayBuffer):
    """`PrioritizedReplayBuffer` in NumPy arrays: the same arguments and methods.

    Args:
        capacity: Integer >= 1.
        num_envs: Integer or None.
        prioritization: `"proportional"` or `"rank"`.
        alpha: Float >= 0.
        beta: Float in [0, 1].
        beta_steps: Integer >= 1 or None.
        epsilon: Float >= 0.
        normalization: `"batch"` or `"buffer"`.
        stratified: Boolean.
        sort_every: Integer >= 1 or None.
        **storage: Further arguments of `NumpyReplayBuffer`.

    Example:
    >>> buffer = NumpyPrioritizedReplayBuffer(2, alpha=1.0, epsilon=0.0)
    >>> for t in range(2):
    ...     index = buffer.add([[t]], [t], [1.0], [False], [False], [[t + 1]])
    >>> buffer.update_priorities([0, 1], [1.0, -3.0])
    >>> buffer.probability([0, 1]).tolist()
    [0.25, 0.75]
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
        self._fixed_length, self._beta_steps = beta_steps is not None, beta_steps
        self._bytes_per_step = 40  # keys, sorted keys, at most 3 nodes

    def _make_ring(self):
        ring = super()._make_ring()
        width = 1 << (self.capacity - 1).bit_length()
        self._nodes = self._arrays.new("nodes", [2 * width], np.float64)
        self._keys = self._arrays.new("keys", [self.capacity], np.float64, -1.0)
        self._rising, self._pending = np.sort(self._keys), self.capacity
        # Largest priority; beta's draws; stale updates.
        start = np.array([1.0, 0.0, 0.0])
        self._scalars = self._arrays.new("scalars", [3], np.float64, start)
        return ring

    @property
    def max_priority(self):
        """The largest `|delta| + epsilon` seen, at least 1."""
        return float(self._scalars[0])

    @property
    def stale_updates(self):
        """Updates for displaced transitions so far."""
        return int(self._scalars[2])

    def sample(self, batch_size, seed=None, gamma=None):
        """Draws in proportion to the priorities; moves beta.

        Args:
            batch_size: Integer, `B`.
            seed: Integers or None.
            gamma: Number or scalar tensor (float64 or float32), in place of the
                buffer's own `gamma` in this call; None takes the buffer's.

        Returns:
            `(index, Transition)`.
        """
        self._check_sample(batch_size)
        self._sort_if_due()
        total = self._nodes[1]
        if total == 0.0:
            raise ValueError("Expected a positive priority. Received: only zeros")
        seed = self._next_seed() if seed is None else seed
        fraction = self._uniform([batch_size], seed)
        if self.stratified:
            fraction = (np.arange(batch_size) + fraction) / batch_size
        row = self._find(fraction * total)
        priority = self._nodes[len(self._nodes) // 2 + row]
        least = priority.min()
        if self.normalization == "buffer":
            leaves = self._nodes[len(self._nodes) // 2 :]
            least = leaves[leaves > 0.0].min()
        weight = ((least / priority) ** self.beta()).astype(np.float32)
        self._scalars[1] += 1
        index = self._ring.index_of(row)
        return index, self._read(index, weight, gamma)

    def update_priorities(self, index, td_error):
        """Sets priorities. See `PrioritizedReplayBuffer.update_priorities`."""
        self._check_built()
        index = self._handed_out(index)
        td_error = self._array(numbers("td_error", td_error, self._array), np.float64)
        check_pairs(index, "td_error", td_error)
        _check_finite(td_error[index >= 0])
        key = np.abs(td_error) + self.epsilon
        held = self.holds(index)
        self._scalars[2] += np.count_nonzero((index >= 0) & ~held)
        if held.any():
            self._scalars[0] = max(self._scalars[0], key[held].max())
            order = np.argsort(key[held], kind="stable")  # of duplicates, the largest
            self._set(index[held][order], key[held][order])

    def probability(self, index):
        """`P(i)` of the transitions `[B]`; 0 if displaced."""
        self._check_built()
        index = indices(index, self._array)
        leaf = self._nodes[len(self._nodes) // 2 + self._ring.row_of(index)]
        total = self._nodes[1] or 1.0  # of an empty buffer, 0
        return np.where(self.holds(index), leaf / total, 0.0)

    def beta(self):
        """What the next `sample` uses."""
        if self._beta_steps is None:
            return self.initial_beta
        fraction = min(self._scalars[1] / self._beta_steps, 1.0)
        return float(self.initial_beta + (1.0 - self.initial_beta) * fraction)

    def set_training_length(self, num_samples):
        """Resolves `beta_steps=None`. See `PrioritizedReplayBuffer`."""
        check_positive_integer("num_samples", num_samples)
        if not self._fixed_length:
            self._beta_steps = int(num_samples)

    def clear(self):
        """Forgets all transitions. The largest priority and beta stay."""
        super().clear()
        self._nodes[...], self._keys[...] = 0.0, -1.0

    def _checked_errors(self, td_error):
        td_error = numbers("td_error", td_error, self._array)
        td_error = self._array(td_error, np.float64)
        _check_finite(td_error)
        return td_error

    def _prioritize_new(self, index, displaced, td_error):
        new = index >= 0
        if td_error is None:
            first = np.full(index.shape, self._scalars[0])
        else:
            first = np.abs(td_error) + self.epsilon
            if new.any():
                self._scalars[0] = max(self._scalars[0], first[new].max())
        displaced = displaced[displaced >= 0]
        self._set(displaced, np.full(displaced.shape, -1.0))
        self._set(index[new], first[new])

    def _set(self, index, key):
        """Writes `p` `[B]`, -1 for none, of transitions into the tree."""
        row = self._ring.row_of(index)
        self._keys[row] = key
        if self.prioritization == "rank":
            self._pending += len(row)
            larger = self.capacity - np.searchsorted(self._rising, key, side="right")
            priority = (1.0 + larger) ** -self.alpha
        else:
            priority = np.maximum(key, 0.0) ** self.alpha
        self._write(row, np.where(key >= 0.0, priority, 0.0))

    def _sort_if_due(self):
        due = self._sort_every or self.capacity
        if self.prioritization == "proportional" or self._pending < due:
            return
        order = np.argsort(-np.asarray(self._keys), kind="stable")
        self._rising, self._pending = self._keys[order[::-1]], 0
        priority = np.arange(1.0, self.capacity + 1.0) ** -self.alpha
        self._write(order, np.where(self._keys[order] >= 0.0, priority, 0.0))

    def _write(self, row, priority):
        node = row + len(self._nodes) // 2
        self._nodes[node] = priority
        while len(node) and node[0] > 1:
            node = np.unique(node // 2)
            self._nodes[node] = self._nodes[2 * node] + self._nodes[2 * node + 1]

    def _find(self, mass):
        node = np.ones(len(mass), np.int64)
        while node[0] < len(self._nodes) // 2:
            left, right = self._nodes[2 * node], self._nodes[2 * node + 1]
            go_right = (mass >= left) & (right > 0.0)
            mass = np.where(go_right, mass - left, mass)
            node = 2 * node + go_right
        return node - len(self._nodes) // 2


def _check_finite(td_error):
    if not np.isfinite(td_error).all():
        raise ValueError(f"Expected finite TD errors. Received: {td_error}")
