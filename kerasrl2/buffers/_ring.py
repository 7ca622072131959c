"""The storage of a replay buffer for large observations: each of them once."""

import tensorflow as tf

from kerasrl2.buffers._layout import Spec
from kerasrl2.buffers._variables import Columns, PackedRows
from kerasrl2.types import Transition

# A step's record, one int64: frame number, frames before it in its episode, two flags.
TERMINATED, TRUNCATED, LOOKBACK, FRAME = 1, 2, 4, 256
RECORD, REWARD, ACTION = 0, 1, 2  # fields of a step


class Ring(Columns):
    """Per environment a ring of steps and one of frames.

    Args:
        layout: `Layout`.
    """

    def __init__(self, layout):
        # Per column: transitions added; the oldest one held; the newest frame; the
        # frames before it in its episode, -1 where the next `add` begins a new one.
        super().__init__(layout, [0, 0, -1, -1])
        # Rows that are not valid are written to spare rows behind the ring.
        frames = self.num_envs * (layout.frames + 2)
        self._frames = [
            tf.Variable(
                tf.zeros([frames, *spec.stored], spec.dtype),
                trainable=False,
                name="frames",
            )
            for spec in tf.nest.flatten(layout.observation)
        ]
        scalars = [tf.TensorSpec([], dtype) for dtype in (tf.int64, tf.float32)]
        fields = [*map(Spec, scalars), *tf.nest.flatten(layout.action)]
        self._steps = PackedRows(self.num_envs * (layout.steps + 1), fields, "steps")

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
        count, oldest, head, lookback = self._counters()
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
            row = self.fence.order(rows)
            ring.scatter_nd_update(row[:, None], tf.concat(values, 0))

        record = frame * FRAME + lookback_now * LOOKBACK
        record += tf.cast(truncated, tf.int64) * TRUNCATED
        record += tf.cast(terminated, tf.int64) * TERMINATED
        spare = column + self.num_envs * self.layout.steps
        rows = tf.where(valid, self._step_row(count, column), spare)
        words = self._steps.pack([record, reward, *action])
        self._steps.words.scatter_nd_update(self.fence.order(rows)[:, None], words)

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
        self.fence.after(same)
        return same

    def _displaced(self, count, oldest, head, valid):
        """Transitions a step overwrites: `[N, W]` indices or -1, `[N]` new `oldest`.

        Two frames are written. The first frames of an episode are in `stack` stacks,
        and of two frames one may be the final one: at most `stack + 1` transitions go.
        """
        column = tf.range(self.num_envs, dtype=tf.int64)[:, None]
        number = oldest[:, None] + tf.range(self.layout.stack + 1, dtype=tf.int64)
        words = tf.gather(self._steps.words, self._step_row(number, column))
        self.fence.after(words)
        record = self._steps.field(words, RECORD)
        first_frame = record // FRAME - record % FRAME // LOOKBACK
        goes = first_frame <= (head - self.layout.frames)[:, None]
        goes |= number <= (count - self.layout.steps)[:, None]
        goes &= (number < count[:, None]) & valid[:, None]
        displaced = tf.where(goes, number * self.num_envs + column, -1)
        return displaced, oldest + tf.math.count_nonzero(goes, axis=1)

    def clear(self):
        """Forgets all transitions."""
        count, _, head, _ = self._counters()
        self._columns.assign(tf.stack([count, count, head, -tf.ones_like(count)]))

    def get(self, index, weight, powers, row=None):
        """`Transition` of `[B]` int64 indices; `row` is not needed.

        `powers` is `[n_step + 1]` float32, of gamma.
        """
        n_step = powers.shape[0] - 1
        number, column = (part[:, None] for part in self._split(index))
        number += tf.range(n_step, dtype=tf.int64)  # [B, n]
        words = tf.gather(self._steps.words, self._step_row(number, column))
        self.fence.after(words)
        record = self._steps.field(words, RECORD)
        reward = self._steps.field(words, REWARD)

        # Frame numbers are consecutive within an episode and skip one after it. No
        # number is used twice, so rows beyond the write head do not match.
        frame = record[:, 0] // FRAME
        steps = tf.range(n_step, dtype=tf.int64)
        within = record // FRAME == frame[:, None] + steps
        length = tf.math.count_nonzero(within, axis=1)  # [B]
        reward = tf.reduce_sum(tf.where(within, powers[:-1] * reward, 0.0), axis=1)
        terminated = tf.reduce_any(within & (record % 2 == TERMINATED), axis=1)
        discount = tf.where(terminated, 0.0, tf.gather(powers, length))

        lookback = record[:, 0] % FRAME // LOOKBACK
        now, following = self._observations(frame, lookback, length, column[:, 0])
        structure = self.layout.action
        action = [
            self._steps.field(words[:, 0], ACTION + number)
            for number in range(len(tf.nest.flatten(structure)))
        ]
        action = tf.nest.pack_sequence_as(structure, action)
        return Transition(now, action, reward, discount, following, weight)

    def begins(self, index):
        """`[B]` bool, whether transitions, after the first one, begin an episode."""
        number, column = self._split(index)
        before = tf.maximum(number - 1, 0)
        rows = self._step_row(tf.stack([number, before]), column[None])
        words = tf.gather(self._steps.words, rows)
        self.fence.after(words)
        frame, last = tf.unstack(self._steps.field(words, RECORD) // FRAME)
        return frame != last + 1

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
            self.fence.after(value)
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
