"""The storage of a replay buffer: per environment a ring of steps and of frames."""

import numpy as np
import tensorflow as tf

from kerasrl2.buffers._order import ReadFence
from kerasrl2.buffers.transition import Transition

# A step's record, one int64: frame number, frames before it in its episode, two flags.
TERMINATED, TRUNCATED, LOOKBACK, FRAME = 1, 2, 4, 256


class Ring(tf.Module):
    """Columns of transitions in variables that are only scattered into and gathered.

    Transition `number` of column `n` (both count from 0) has the index
    `number * num_envs + n`. Rows of one column are neighbours: what an n-step
    transition needs lies together.

    Args:
        layout: `Layout`.
    """

    def __init__(self, layout):
        super().__init__(name="ring")
        self.layout, self.num_envs = layout, layout.num_envs
        self._fence = ReadFence()
        layout, columns = self.layout, self.num_envs
        # The rows after the ring's take what is not valid.
        frames, steps = columns * (layout.frames + 2), columns * (layout.steps + 1)
        self._frames = [
            _zeros([frames, *spec.stored], spec.dtype, "frames")
            for spec in tf.nest.flatten(layout.observation)
        ]
        self._actions = [
            _zeros([steps, *spec.stored], spec.dtype, "actions")
            for spec in tf.nest.flatten(layout.action)
        ]
        self._rewards = _zeros([steps], np.float32, "rewards")
        self._records = _zeros([steps], np.int64, "records")
        # Per column: transitions added; the oldest one held; the newest frame; the
        # frames before it in its episode, -1 where the next `add` begins a new one.
        start = tf.constant([[0], [0], [-1], [-1]], tf.int64)
        self._columns = tf.Variable(
            tf.tile(start, [1, columns]), trainable=False, name="columns"
        )

    def add(self, observation, action, reward, terminated, truncated, following, valid):
        """Stores one step of each column.

        Args:
            observation: List of `[N, ...]`, one for each leaf of the nest.
            action: List of `[N, ...]`.
            reward: `[N]` float32.
            terminated: `[N]` bool.
            truncated: `[N]` bool.
            following: List like `observation`, the true successors.
            valid: `[N]` bool.

        Returns:
            `(index, displaced)`: `[N]` int64 and `[N, W]` int64, -1 for nothing.
        """
        count, oldest, head, lookback = tf.unstack(self._columns.read_value())
        column = tf.range(self.num_envs, dtype=tf.int64)
        continues = (lookback >= 0) & self._is_newest(head, observation)
        lookback_now = tf.where(
            continues, tf.minimum(lookback + 1, self.layout.stack - 1), 0
        )
        frame = tf.where(continues, head, head + 1)
        displaced, kept = self._displaced(count, oldest, frame + 1, valid)

        rows = tf.concat([self._frame_row(frame), self._frame_row(frame + 1)], 0)
        spare = tf.range(2 * self.num_envs, dtype=tf.int64)
        spare += self.num_envs * self.layout.frames
        rows = tf.where(tf.tile(valid, [2]), rows, spare)
        for ring, *values in zip(self._frames, observation, following, strict=True):
            self._write(ring, rows, tf.concat(values, 0))

        spare = column + self.num_envs * self.layout.steps
        rows = tf.where(valid, self._step_row(count, column), spare)
        for ring, value in zip(self._actions, action, strict=True):
            self._write(ring, rows, value)
        self._write(self._rewards, rows, reward)
        record = frame * FRAME + lookback_now * LOOKBACK
        record += tf.cast(truncated, tf.int64) * TRUNCATED
        record += tf.cast(terminated, tf.int64) * TERMINATED
        self._write(self._records, rows, record)

        after = tf.where(terminated | truncated, tf.cast(-1, tf.int64), lookback_now)
        new = tf.stack([count + 1, kept, frame + 1, after])
        self._columns.assign(tf.where(valid, new, [count, oldest, head, lookback]))
        return tf.where(valid, count * self.num_envs + column, -1), displaced

    def _is_newest(self, head, observation):
        """`[N]` bool, whether `observation` is the newest frame of each column."""
        rows, same = self._frame_row(head), tf.fill([self.num_envs], True)
        for ring, value in zip(self._frames, observation, strict=True):
            equal = tf.gather(ring, rows) == value
            same &= tf.reduce_all(tf.reshape(equal, [self.num_envs, -1]), axis=1)
        self._fence.after(same)
        return same

    def _displaced(self, count, oldest, head, valid):
        """What a step takes the room of: `[N, W]` indices or -1, `[N]` new `oldest`.

        Two frames are written. The first frames of an episode are in `stack` stacks,
        and of two frames one may be the final one: at most `stack + 1` transitions go.
        """
        column = tf.range(self.num_envs, dtype=tf.int64)[:, None]
        number = oldest[:, None] + tf.range(self.layout.stack + 1, dtype=tf.int64)
        record = tf.gather(self._records, self._step_row(number, column))
        self._fence.after(record)
        first_frame = record // FRAME - record % FRAME // LOOKBACK
        goes = first_frame <= (head - self.layout.frames)[:, None]
        goes |= number <= (count - self.layout.steps)[:, None]
        goes &= (number < count[:, None]) & valid[:, None]
        displaced = tf.where(goes, number * self.num_envs + column, -1)
        return displaced, oldest + tf.math.count_nonzero(goes, axis=1)

    def clear(self):
        """Forgets all transitions."""
        count, _, head, _ = tf.unstack(self._columns.read_value())
        self._columns.assign(tf.stack([count, count, head, -tf.ones_like(count)]))

    def sizes(self):
        """`[N]` int64, transitions held per column."""
        count, oldest, _, _ = tf.unstack(self._columns.read_value())
        return count - oldest

    def added(self):
        """Scalar int64, transitions stored so far, forgotten ones included."""
        return tf.reduce_sum(self._columns.read_value()[0])

    def holds(self, index):
        """`[B]` bool, whether the transitions `index` have not been displaced."""
        count, oldest, _, _ = tf.unstack(self._columns.read_value())
        number, column = index // self.num_envs, index % self.num_envs
        held = number >= tf.gather(oldest, column)
        return held & (number < tf.gather(count, column)) & (index >= 0)

    def index_of(self, row):
        """Indices of the newest transitions in rows `[B]` int64; -1 stays."""
        column, place = row // self.layout.steps, row % self.layout.steps
        newest = tf.gather(self._columns.read_value()[0], tf.maximum(column, 0)) - 1
        number = newest - (newest - place) % self.layout.steps
        return tf.where(row >= 0, number * self.num_envs + column, -1)

    def row_of(self, index):
        """Rows in `[0, capacity)` of the transitions `[B]` int64."""
        return self._step_row(index // self.num_envs, index % self.num_envs)

    def positions(self, fraction):
        """Index of the transition at `fraction` `[B]` in [0, 1) of all held ones."""
        count, oldest, _, _ = tf.unstack(self._columns.read_value())
        ends = tf.cumsum(count - oldest)
        position = tf.cast(fraction * tf.cast(ends[-1], tf.float64), tf.int64)
        position = tf.minimum(position, ends[-1] - 1)  # [B]
        column = tf.math.count_nonzero(position[:, None] >= ends, axis=1)
        column = tf.minimum(column, self.num_envs - 1)
        number = position - tf.gather(ends, column) + tf.gather(count, column)
        return tf.where(ends[-1] > 0, number * self.num_envs + column, -1)

    def get(self, index, weight, n_step, gamma):
        """`Transition` of `[B]` int64 indices."""
        column, number = (index % self.num_envs)[:, None], index // self.num_envs
        number = number[:, None] + tf.range(n_step, dtype=tf.int64)  # [B, n]
        rows = self._step_row(number, column)
        record, reward = tf.gather(self._records, rows), tf.gather(self._rewards, rows)
        action = [tf.gather(ring, rows[:, 0]) for ring in self._actions]
        self._fence.after(record, reward, *action)

        # Frame numbers run on within an episode and skip one after it.
        frame = record[:, 0] // FRAME
        steps = tf.range(n_step, dtype=tf.int64)
        count = tf.gather(self._columns.read_value()[0], column)
        within = (record // FRAME == frame[:, None] + steps) & (number < count)
        length = tf.math.count_nonzero(within, axis=1)  # [B]
        powers = tf.constant(gamma ** np.arange(n_step + 1), tf.float32)
        reward = tf.reduce_sum(tf.where(within, powers[:-1] * reward, 0.0), axis=1)
        terminated = tf.reduce_any(within & (record % 2 == TERMINATED), axis=1)
        discount = tf.where(terminated, 0.0, tf.gather(powers, length))

        lookback = record[:, 0] % FRAME // LOOKBACK
        now, following = self._observations(frame, lookback, length, column[:, 0])
        action = tf.nest.pack_sequence_as(self.layout.action, action)
        return Transition(now, action, reward, discount, following, weight)

    def _observations(self, frame, lookback, length, column):
        """Observations at `frame` `[B]` and `length` `[B]` frames later."""
        first = frame - lookback
        both = tf.stack([frame, frame + length], axis=1)  # [B, 2]
        results = []
        specs = tf.nest.flatten(self.layout.observation)
        for ring, spec in zip(self._frames, specs, strict=True):
            ages = tf.range(spec.stack - 1, -1, -1, dtype=tf.int64)
            frames = tf.maximum(both[..., None] - ages, first[:, None, None])
            rows = self._frame_row(frames, column[:, None, None])
            value = tf.gather(ring, rows)  # [B, 2, stack, ..., C]
            self._fence.after(value)
            if spec.stack == 1:
                value = value[:, :, 0]
            else:
                axes = [*range(3, value.shape.rank - 1), 2, value.shape.rank - 1]
                value = tf.transpose(value, [0, 1, *axes])
                value = tf.reshape(value, [*value.shape[:2], *spec.shape])
            results.append((value[:, 0], value[:, 1]))
        structure = self.layout.observation
        return [
            tf.nest.pack_sequence_as(structure, list(part))
            for part in zip(*results, strict=True)
        ]

    def _frame_row(self, frame, column=None):
        if column is None:
            column = tf.range(self.num_envs, dtype=tf.int64)
        return column * self.layout.frames + frame % self.layout.frames

    def _step_row(self, number, column):
        return column * self.layout.steps + number % self.layout.steps

    def _write(self, ring, rows, values):
        rows = self._fence.order(rows)
        ring.scatter_nd_update(rows[:, None], values)


def _zeros(shape, dtype, name):
    return tf.Variable(tf.zeros(shape, dtype), trainable=False, name=name)
