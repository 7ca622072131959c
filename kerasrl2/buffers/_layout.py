"""Sizes and shapes of a replay buffer, the same for both back ends."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range

PRINT_FROM = 100e6  # bytes; building a smaller buffer prints nothing
SMALL_OBSERVATION = 1024  # bytes


class Spec:
    """Shape and dtype of one row, with the frame stack taken apart.

    Attributes:
        shape: Tuple, as `add` receives and `sample` returns it.
        stored: Tuple, as the ring holds it: the newest frame only.
        dtype: `np.dtype`.
        stack: Integer >= 1, frames along the last axis of `shape`.
    """

    def __init__(self, spec, stack=1):
        self.shape = tuple(int(size) for size in spec.shape)
        self.dtype = tf.as_dtype(spec.dtype).as_numpy_dtype
        self.stack, self.stored = stack, self.shape
        if stack > 1:
            if not self.shape or self.shape[-1] % stack:
                raise ValueError(
                    f"Expected the last axis of observations to hold {stack} frames, "
                    f"oldest first. Received: shape {self.shape}, frame_stack={stack}"
                )
            self.stored = (*self.shape[:-1], self.shape[-1] // stack)

    @property
    def nbytes(self):
        return int(np.prod(self.stored, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def __str__(self):
        return f"{np.dtype(self.dtype).name}{list(self.shape)}"


def specs_of(space):
    """Nest of objects with `shape` and `dtype`, of such or of Gymnasium spaces."""
    if hasattr(space, "spaces"):
        inner = space.spaces
        if hasattr(inner, "items"):
            return {key: specs_of(inner[key]) for key in inner}
        return tuple(specs_of(part) for part in inner)
    if isinstance(space, dict):
        return {key: specs_of(part) for key, part in space.items()}
    if isinstance(space, tuple | list) and not hasattr(space, "shape"):
        return tuple(specs_of(part) for part in space)
    return space


class Layout:
    """How many rows a buffer has, of what, and how large they are.

    The ring of a column (one environment) has two parts. `steps` rows hold action,
    reward and flags of one transition each. `frames` rows hold observations; an episode
    of `L` transitions takes `L + 1`, so that its final observation is kept too.

    Attributes:
        num_envs: Integer, columns.
        steps: Integer, transitions a column holds at most.
        frames: Integer, observations a column holds.
        stack: Integer, the largest frame stack.
        observation: Nest of `Spec`.
        action: Nest of `Spec`.
        flat: Boolean, whether a transition is stored whole, with both observations
            (`FlatRing`): for small ones without stacks.
        episode_length: Integer, the mean one down to which `steps` are really held.
    """

    def __init__(
        self, capacity, num_envs, frame_stack, episode_length, observation, action
    ):
        check_positive_integer("num_envs", num_envs)
        observation, action = specs_of(observation), specs_of(action)
        stacks = frame_stack
        if isinstance(frame_stack, int):
            stacks = tf.nest.map_structure(lambda _: frame_stack, observation)
        tf.nest.assert_same_structure(observation, stacks)
        self.observation = tf.nest.map_structure(Spec, observation, stacks)
        self.action = tf.nest.map_structure(Spec, action)
        self.num_envs = int(num_envs)
        self.steps = -(-capacity // self.num_envs)
        self.stack = max(tf.nest.flatten(stacks))
        self.frame_bytes = sum(s.nbytes for s in tf.nest.flatten(self.observation))
        small = self.frame_bytes <= SMALL_OBSERVATION
        self.flat = small and self.stack == 1 and episode_length is None
        if episode_length is None:
            episode_length = 1 if small else 64
        self.episode_length = episode_length
        self.frames = self.steps + -(-self.steps // episode_length) + self.stack

    def __str__(self):
        parts = [tf.nest.map_structure(str, x) for x in (self.observation, self.action)]
        return f"observations {parts[0]}, actions {parts[1]}, num_envs {self.num_envs}"

    @property
    def capacity(self):
        """Transitions in all columns."""
        return self.steps * self.num_envs

    @property
    def action_bytes(self):
        """Bytes of one action."""
        return sum(spec.nbytes for spec in tf.nest.flatten(self.action))

    def nbytes(self, more_per_step=0, flat=False):
        """Bytes of the whole buffer, its priorities (`more_per_step`) included.

        Args:
            more_per_step: Float.
            flat: Boolean, whether a transition is stored whole, with flags of 4 bytes.
                If not, with a record of 8, and its observation apart.
        """
        step = self.action_bytes + np.dtype(np.float32).itemsize + more_per_step
        if flat:
            return int(self.capacity * (step + 4 + 2 * self.frame_bytes))
        frames = self.num_envs * self.frames * self.frame_bytes
        return int(self.capacity * (step + 8) + frames)


def check_memory(name, nbytes, capacity, available):
    """Prints the size of a large buffer; refuses one that does not fit.

    Args:
        name: String, the class.
        nbytes: Integer, what will be allocated.
        capacity: Integer, transitions.
        available: Integer bytes, or None if unknown.
    """
    size = (
        f"{name} of {capacity:,} transitions: {readable(nbytes)}, "
        f"{readable(nbytes / capacity)} each"
    )
    if available is not None and nbytes > available:
        raise ValueError(
            f"Expected a buffer that fits into memory. Received: {size}, but only "
            f"{readable(available)} are free. Choose a `capacity` of at most "
            f"{int(0.9 * available / nbytes * capacity):,}, store images as uint8, set "
            "`frame_stack` if observations are stacks of frames, or keep the NumPy "
            "buffer on disk (`directory`)."
        )
    if nbytes >= PRINT_FROM:
        print(size)


def readable(nbytes):
    """Bytes as text.

    Example:
    >>> readable(7_205), readable(3e9), readable(5)
    ('7.2 kB', '3.0 GB', '5 B')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes:.0f} B"


def available_memory():
    """Free bytes of this machine or container; None where nothing tells."""
    free = []
    try:
        meminfo = Path("/proc/meminfo").read_text()
        fields = dict(line.split(":") for line in meminfo.splitlines())
        free.append(1024 * int(fields["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        try:
            free.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, OSError, ValueError):
            return None
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        free.append(limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no limit, or no cgroup
    return max(min(free), 0)


def check_arguments(capacity, num_envs, n_step, gamma, frame_stack, episode_length):
    """Checks what both back ends' constructors take."""
    check_positive_integer("capacity", capacity)
    check_positive_integer("n_step", n_step)
    check_range("gamma", gamma, 0.0, 1.0)
    for name, value in (("num_envs", num_envs), ("episode_length", episode_length)):
        if value is not None:
            check_positive_integer(name, value)
    for stack in tf.nest.flatten(frame_stack):
        check_positive_integer("frame_stack", stack)
        if stack > 64:
            raise ValueError(f"Expected `frame_stack` <= 64. Received: {stack}")


def specs_from_rows(observation, action, frame_stack):
    """`(num_envs, observation_spec, action_spec)` read off the first rows added."""

    def spec(row):
        dtype = tf.as_dtype(row.dtype)
        return tf.TensorSpec(row.shape[1:], tf.float32 if dtype == "float64" else dtype)

    for leaf in tf.nest.flatten((observation, action)):
        if not len(leaf.shape):
            raise ValueError("Expected rows of `num_envs` environments. Received: one")
    num_envs = tf.nest.flatten(action)[0].shape[0]
    observation = tf.nest.map_structure(spec, observation)
    if isinstance(frame_stack, int) and frame_stack > 1:
        for leaf in tf.nest.flatten(observation):
            if leaf.shape[-1:] != [frame_stack]:
                raise ValueError(
                    f"Expected stacks of {frame_stack} frames along the last axis, "
                    f"oldest first. Received: shape {tuple(leaf.shape)} for one "
                    "environment. For frames with channels, and to add single frames, "
                    "call `build` first, with the shape of a whole stack"
                )
    return num_envs, observation, tf.nest.map_structure(spec, action)
