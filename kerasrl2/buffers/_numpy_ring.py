"""The storage of a replay buffer in NumPy arrays, in memory or on disk."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasrl2.buffers._ring import FRAME, LOOKBACK, TERMINATED, TRUNCATED
from kerasrl2.types import Transition


class Arrays:
    """Named arrays, mapped to `.npy` files if there is a directory.

    Files that are there already are opened as they are, so that a buffer goes on where
    an earlier process left it.

    Args:
        directory: Path or None.
        description: String; a directory with arrays of another one is refused.
    """

    def __init__(self, directory, description):
        self.directory = None if directory is None else Path(directory)
        self.named = {}
        if self.directory is None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        note = self.directory / "buffer.json"
        if note.exists():
            found = json.loads(note.read_text())["description"]
            if found != description:
                raise ValueError(
                    f"Expected {self.directory} to hold a buffer of {description}. "
                    f"Received: {found}"
                )
        else:
            note.write_text(json.dumps({"description": description}))

    def new(self, name, shape, dtype, start=0):
        """An array of `shape`, filled with `start` where it is new."""
        if self.directory is None:
            array = np.zeros(shape, dtype)
            fresh = True
        else:
            path = self.directory / f"{name}.npy"
            fresh = not path.exists()
            mode = "w+" if fresh else "r+"
            array = np.lib.format.open_memmap(path, mode, dtype, tuple(shape))
        if fresh and np.any(np.asarray(start) != 0):
            array[...] = start
        self.named[name] = array
        return array

    def flush(self):
        """Writes mapped arrays to disk."""
        for array in self.named.values():
            if isinstance(array, np.memmap):
                array.flush()


class NumpyRing:
    """`Ring` in NumPy; the same methods, row by row where that is clearer.

    Args:
        layout: `Layout`.
        arrays: `Arrays`.
    """

    def __init__(self, layout, arrays):
        self.layout, self.num_envs = layout, layout.num_envs
        frames, steps = (
            [self.num_envs, layout.frames],
            [self.num_envs, layout.steps],
        )
        self._frames = [
            arrays.new(f"frames_{i}", [*frames, *spec.stored], spec.dtype)
            for i, spec in enumerate(tf.nest.flatten(layout.observation))
        ]
        self._actions = [
            arrays.new(f"actions_{i}", [*steps, *spec.stored], spec.dtype)
            for i, spec in enumerate(tf.nest.flatten(layout.action))
        ]
        self._rewards = arrays.new("rewards", steps, np.float32)
        self._records = arrays.new("records", steps, np.int64)
        start = np.array([[0], [0], [-1], [-1]])
        self._columns = arrays.new("columns", [4, self.num_envs], np.int64, start)

    def add(self, observation, action, reward, terminated, truncated, following, valid):
        """Stores one step of each column. See `Ring.add`."""
        index = np.full([self.num_envs], -1, np.int64)
        displaced = np.full([self.num_envs, self.layout.stack + 1], -1, np.int64)
        for n in np.flatnonzero(valid):
            count, oldest, head, lookback = (int(x) for x in self._columns[:, n])
            place = head % self.layout.frames
            if lookback >= 0 and all(
                np.array_equal(ring[n, place], value[n])
                for ring, value in zip(self._frames, observation, strict=True)
            ):
                frame, lookback = head, min(lookback + 1, self.layout.stack - 1)
            else:
                frame, lookback = head + 1, 0
            for slot in range(displaced.shape[1]):
                if oldest < count and self._goes(n, oldest, count, frame + 1):
                    displaced[n, slot] = oldest * self.num_envs + n
                    oldest += 1
            for ring, now, then in zip(
                self._frames, observation, following, strict=True
            ):
                ring[n, frame % self.layout.frames] = now[n]
                ring[n, (frame + 1) % self.layout.frames] = then[n]
            row = count % self.layout.steps
            for ring, value in zip(self._actions, action, strict=True):
                ring[n, row] = value[n]
            self._rewards[n, row] = reward[n]
            flags = TRUNCATED * bool(truncated[n]) + TERMINATED * bool(terminated[n])
            self._records[n, row] = frame * FRAME + lookback * LOOKBACK + flags
            after = -1 if terminated[n] or truncated[n] else lookback
            self._columns[:, n] = count + 1, oldest, frame + 1, after
            index[n] = count * self.num_envs + n
        return index, displaced

    def _goes(self, n, oldest, count, head):
        record = int(self._records[n, oldest % self.layout.steps])
        first_frame = record // FRAME - record % FRAME // LOOKBACK
        no_frame = first_frame <= head - self.layout.frames
        return no_frame or oldest <= count - self.layout.steps

    def clear(self):
        """Forgets all transitions."""
        self._columns[1] = self._columns[0]
        self._columns[3] = -1

    def counts(self):
        """`[N]` int64, transitions stored so far per column."""
        return self._columns[0]

    def sizes(self):
        """`[N]` int64, transitions held per column."""
        return self._columns[0] - self._columns[1]

    def added(self):
        """Integer, transitions stored so far, forgotten ones included."""
        return self._columns[0].sum()

    def holds(self, index):
        """`[B]` bool, whether the transitions `index` have not been displaced."""
        number, column = index // self.num_envs, index % self.num_envs
        count, oldest = self._columns[0][column], self._columns[1][column]
        return (number >= oldest) & (number < count) & (index >= 0)

    def positions(self, fraction):
        """Index of the transition at `fraction` `[B]` in [0, 1) of all held ones."""
        ends = np.cumsum(self.sizes())
        position = np.minimum((fraction * ends[-1]).astype(np.int64), ends[-1] - 1)
        column = np.searchsorted(ends, position, side="right")
        number = position - ends[column] + self._columns[0][column]
        return number * self.num_envs + column

    def index_of(self, row):
        """Indices of the newest transitions in rows `[B]`."""
        column, place = row // self.layout.steps, row % self.layout.steps
        newest = self._columns[0][column] - 1
        number = newest - (newest - place) % self.layout.steps
        return number * self.num_envs + column

    def row_of(self, index):
        """Rows in `[0, capacity)` of the transitions `[B]`."""
        place = index // self.num_envs % self.layout.steps
        return index % self.num_envs * self.layout.steps + place

    def get(self, index, weight, powers):
        """`Transition` of `[B]` int64 indices; `powers` `[n_step + 1]` of gamma."""
        n_step = len(powers) - 1
        number, column = index // self.num_envs, index % self.num_envs
        numbers = number[:, None] + np.arange(n_step)
        rows = column[:, None], numbers % self.layout.steps
        record = np.asarray(self._records[rows])
        frame = record[:, 0] // FRAME
        within = record // FRAME == frame[:, None] + np.arange(n_step)
        length = within.sum(axis=1)
        reward = np.where(within, powers[:-1] * self._rewards[rows], 0).sum(axis=1)
        terminated = (within & (record % 2 == TERMINATED)).any(axis=1)
        discount = np.where(terminated, np.float32(0.0), powers[length])
        first = frame - record[:, 0] % FRAME // LOOKBACK
        row = column, number % self.layout.steps
        action = [np.asarray(ring[row]) for ring in self._actions]
        return Transition(
            self._observation(column, frame, first),
            tf.nest.pack_sequence_as(self.layout.action, action),
            reward.astype(np.float32),
            discount,
            self._observation(column, frame + length, first),
            weight,
        )

    def _observation(self, column, frame, first):
        """Observations at `frame` `[B]`, in stacks that begin at `first` at most."""
        results = []
        specs = tf.nest.flatten(self.layout.observation)
        for ring, spec in zip(self._frames, specs, strict=True):
            parts = [
                np.asarray(
                    ring[column, np.maximum(frame - age, first) % self.layout.frames]
                )
                for age in range(spec.stack - 1, -1, -1)
            ]
            results.append(parts[0] if spec.stack == 1 else np.concatenate(parts, -1))
        return tf.nest.pack_sequence_as(self.layout.observation, results)
