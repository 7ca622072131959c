"""Sum tree: draws leaves in proportion to their priority."""

import math

import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2.buffers._variables import ReadFence, as_tensor

FANOUT = 4
DENSE = 1024  # nodes; levels above one so small are summed up whole


def level_rows(capacity):
    """Rows of `FANOUT` nodes per level, from the top one to the leaves.

    Example:
    >>> level_rows(9)
    [1, 3]
    """
    rows = [-(-capacity // FANOUT)]
    while rows[0] > 1:
        rows.insert(0, -(-rows[0] // FANOUT))
    return rows


class SumTree(tf.Module):
    """Priorities >= 0 with update and proportional lookup in O(log capacity).

    Appendix B.2.1 of Schaul et al. (2016), https://arxiv.org/abs/1511.05952. The leaves
    `[0, capacity)` split the interval `[0, total)` into half-open pieces as long as
    their priorities, in order. All methods work eagerly, in `tf.function` and in XLA,
    where none copies the tree.

    - Any capacity from 1. A leaf of priority 0, as all are at first, is never found.
    - Parents are recomputed from their children, not shifted by differences: sums do
      not drift, and `total` stays the sum of the leaves.
    - Of several rows for one leaf in one `update` the largest priority wins, whatever
      their order.
    - Negative, NaN and infinite priorities, and leaves that do not exist, are refused:
      with a `ValueError` eagerly, when nothing is changed; in a graph the row is left
      out and counted in `refused`.

    Microseconds for a lookup and an update of 256 leaves in an XLA loop, with 10**4 and
    10**6 leaves (AMD EPYC, one core, best of 25):

    =======  ======  ======  ======  ======
    fan-out  2       4       8       16
    =======  ======  ======  ======  ======
    10**4    14      12      15      24
    10**6    32      25      30      44
    =======  ======  ======  ======  ======

    Hence a fan-out of 4; float32 would save 5 us, float64 keeps leaves reachable whose
    share is below 2**-23. The levels are a loop: unrolled, XLA computes a level again
    for each use of it (190 us), and compiles twice as long. Levels of up to 1024 nodes
    are summed up whole after an update, which is cheaper than along 256 paths.

    Args:
        capacity: Integer >= 1, the number of leaves.
        track_minimum: Boolean, whether `minimum` may be asked. Costs 10 to 20 %.
        name: String or None.

    Attributes:
        refused: int64 variable, rows refused in graphs so far.

    Example:
    >>> tree = SumTree(4)
    >>> tree.update([0, 1, 2, 3], [1.0, 4.0, 2.0, 3.0])
    >>> tree.find([0.0, 0.99, 1.0, 6.99, 7.0, 9.999]).numpy().tolist()
    [0, 0, 1, 2, 3, 3]
    >>> float(tree.total())
    10.0
    """

    def __init__(self, capacity, track_minimum=False, name=None):
        super().__init__(name=name)
        check_positive_integer("capacity", capacity)
        self.capacity = int(capacity)
        rows = level_rows(self.capacity)
        starts = [FANOUT * sum(rows[:level]) for level in range(len(rows) + 1)]
        self._starts = starts  # of each level; the last one is the spare node's
        self._levels = len(rows)
        self._dense = max(k for k in range(len(rows)) if FANOUT * rows[k] <= DENSE)
        zeros = tf.zeros([starts[-1] + 1], tf.float64)
        self.nodes = tf.Variable(zeros, trainable=False, name="nodes")
        self.minima = None
        if track_minimum:  # of inner nodes; the leaves are those above
            inner = tf.fill([max(starts[-2], 1)], tf.constant(math.inf, tf.float64))
            self.minima = tf.Variable(inner, trainable=False, name="minima")
        counter = tf.zeros([], tf.int64)
        self.refused = tf.Variable(counter, trainable=False, name="refused")
        self._fence = ReadFence()

    def update(self, index, priority, mask=None):
        """Sets leaves to priorities.

        Args:
            index: `[B]` int.
            priority: `[B]` float, >= 0.
            mask: `[B]` bool or None. Rows where it is False are left out.
        """
        index = as_tensor(index, tf.int32)
        priority = as_tensor(priority, tf.float64)
        legal = (index >= 0) & (index < self.capacity)
        legal &= tf.math.is_finite(priority) & (priority >= 0.0)
        mask = tf.ones_like(legal) if mask is None else as_tensor(mask, tf.bool)
        if tf.executing_eagerly() and not tf.reduce_all(legal | ~mask):
            raise ValueError(
                f"Expected leaves in [0, {self.capacity}) and finite priorities >= 0. "
                f"Received: index={index[mask].numpy()}, "
                f"priority={priority[mask].numpy()}"
            )
        self.refused.assign_add(tf.math.count_nonzero(mask & ~legal))
        self._write(index, priority, mask & legal)

    def _write(self, index, priority, mask):
        spare, leaves = self._starts[-1], self._starts[-2]
        node = tf.where(mask, index, 0)  # else recompute leaf 0's path: no change
        position = self._fence.order(tf.where(mask, index + leaves, spare))
        # Two steps, so that of duplicates the largest stays.
        self.nodes.scatter_update(tf.IndexedSlices(tf.zeros_like(priority), position))
        self.nodes.scatter_max(tf.IndexedSlices(priority, position))
        level = self._levels - 2
        if level >= self._dense:
            node = self._level_up(level, node, above_leaves=True)
        tf.while_loop(
            lambda level, node: level >= self._dense,
            lambda level, node: (level - 1, self._level_up(level, node)),
            (tf.constant(level - 1), node),
            maximum_iterations=self._levels,
        )
        self._top_up()

    def _level_up(self, level, node, above_leaves=False):
        """Recomputes the parents of `node` `[B]`, on `level`; returns them."""
        starts = tf.constant(self._starts, tf.int32)
        node = tf.truncatediv(node, FANOUT)
        position = node + starts[level]
        children = self._children(self.nodes, node, starts[level + 1])
        total = tf.reduce_sum(children, axis=-1)
        self.nodes.scatter_update(tf.IndexedSlices(total, position))
        if self.minima is not None:
            if above_leaves:
                children = tf.where(children > 0.0, children, math.inf)
            else:
                children = self._children(self.minima, node, starts[level + 1])
            least = tf.reduce_min(children, axis=-1)
            self.minima.scatter_update(tf.IndexedSlices(least, position))
        return node

    def _top_up(self):
        """Recomputes all levels above the dense one."""
        start, end = self._starts[self._dense : self._dense + 2]
        if not start:
            return
        level = tf.gather(self.nodes, tf.range(start, end))
        least = level
        if self.minima is not None and self._dense < self._levels - 1:
            least = tf.gather(self.minima, tf.range(start, end))
        position = tf.range(start)
        sums, minima = self._levels_above(self._dense, level, least)
        self.nodes.scatter_update(tf.IndexedSlices(sums, position))
        if self.minima is not None:
            self.minima.scatter_update(tf.IndexedSlices(minima, position))

    def _levels_above(self, number, level, least):
        """Values of the levels above `number`, of sums and of least ones."""
        sums, minima = [level[:0]], [least[:0]]
        least = tf.where(least > 0.0, least, math.inf)
        for start, end in zip(
            self._starts[:number][::-1], self._starts[1 : number + 1][::-1], strict=True
        ):
            level = tf.reduce_sum(tf.reshape(level, [-1, FANOUT]), axis=1)
            level = tf.pad(level, [[0, end - start - level.shape[0]]])
            least = tf.reduce_min(tf.reshape(least, [-1, FANOUT]), axis=1)
            room = [[0, end - start - least.shape[0]]]
            least = tf.pad(least, room, constant_values=math.inf)
            sums.insert(0, level)
            minima.insert(0, least)
        return tf.concat(sums, 0), tf.concat(minima, 0)

    def find(self, mass):
        """Leaves in whose piece of `[0, total)` the masses lie.

        Args:
            mass: `[B]` float. Below 0 counts as 0; from the total on as just below it,
                so that rounding never leads to a leaf of priority 0.

        Returns:
            `[B]` int32, -1 while all priorities are 0 (or for a NaN).
        """
        return self.lookup(mass)[0]

    def lookup(self, mass):
        """`find`, with the priorities of the leaves found: `[B]` int32, `[B]` float64.

        Cheaper than `get` afterwards.
        """
        mass = as_tensor(mass, tf.float64)
        number = ~tf.math.is_nan(mass)  # before `maximum`: XLA's makes 0 of a NaN
        mass = tf.maximum(mass, 0.0)
        starts = tf.constant(self._starts, tf.int32)

        def level_down(level, node, mass):
            values = self._children(self.nodes, node, starts[level])
            first, *others = tf.unstack(values, axis=-1)
            child, start, below = tf.zeros_like(node), tf.zeros_like(mass), first
            for number, value in enumerate(others, 1):
                # The last one with a mass below it, but never an empty one.
                enter = (mass >= below) & (value > 0.0)
                child = tf.where(enter, number, child)
                start = tf.where(enter, below, start)
                below += value
            return level + 1, FANOUT * node + child, mass - start

        _, node, _ = tf.while_loop(
            lambda level, *_: level < self._levels,
            level_down,
            (0, tf.zeros_like(mass, tf.int32), mass),
            maximum_iterations=self._levels,
        )
        priority = tf.gather(self.nodes, node + self._starts[-2])
        self._fence.after(node, priority)
        found = (priority > 0.0) & number
        return tf.where(found, node, -1), tf.where(found, priority, 0.0)

    def total(self):
        """Sum of all priorities, scalar float64."""
        top = tf.gather(self.nodes, tf.range(FANOUT))
        self._fence.after(top)
        return tf.reduce_sum(top)

    def minimum(self):
        """Smallest priority above 0, scalar float64; infinity if there is none."""
        if self.minima is None:
            raise ValueError("Expected a tree built with `track_minimum=True`.")
        if self._levels == 1:
            top = tf.gather(self.nodes, tf.range(FANOUT))
            least = tf.where(top > 0.0, top, math.inf)
        else:
            top = least = tf.gather(self.minima, tf.range(FANOUT))
        self._fence.after(top)
        return tf.reduce_min(least)

    def get(self, index):
        """Priorities of the leaves `index`: `[B]` int to `[B]` float64."""
        leaf = as_tensor(index, tf.int32) + self._starts[-2]
        priority = tf.gather(self.nodes, leaf)
        self._fence.after(priority)
        return priority

    def assign(self, priority):
        """Sets all leaves, `[capacity]` float >= 0, in O(capacity)."""
        leaves = self._starts[-1] - self._starts[-2]
        level = tf.pad(as_tensor(priority, tf.float64), [[0, leaves - self.capacity]])
        sums, minima = self._levels_above(self._levels - 1, level, level)
        self.nodes.assign(tf.concat([sums, level, tf.zeros([1], tf.float64)], 0))
        if self.minima is not None and self._levels > 1:
            self.minima.assign(minima)

    def clear(self):
        """Sets all priorities to 0."""
        self.assign(tf.zeros([self.capacity], tf.float64))

    @staticmethod
    def _children(nodes, node, start):
        """Values `[B, FANOUT]` of the children of `node` `[B]`."""
        return tf.gather(nodes, (FANOUT * node + start)[:, None] + tf.range(FANOUT))
