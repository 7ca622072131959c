"""What the replay buffers of both back ends share: sizes, adding, drawing."""

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.buffers import _layout

FIELDS = (
    "observation", "action", "reward", "terminated", "truncated", "next_observation",
)  # fmt: skip


class Replay:
    """Building, adding, drawing and asking, on top of a ring of either back end.

    A back end gives, beside its constructor:

    - `_make_ring()`: the storage of `self.layout`.
    - `_array(value, dtype=None)`: `value` as an array or tensor.
    - `_uniform(shape, seed)`: float64 draws from [0, 1).
    - `_next_seed()`: what `_uniform` takes where the user gave no seed.
    - `_stack_steps(num_steps, add)`: `[T, N]` of the `[N]` that `add(0)`, ...,
      `add(T - 1)` return, called in this order.
    """

    _bytes_per_step = 0  # that a subclass needs per transition beside the ring

    def _configure(
        self, capacity, num_envs, n_step, gamma, frame_stack, episode_length
    ):
        _layout.check_arguments(
            capacity, num_envs, n_step, gamma, frame_stack, episode_length
        )
        self._capacity, self.num_envs = int(capacity), num_envs
        self._given_num_envs = num_envs  # `build` sets the other
        self.n_step, self.gamma = int(n_step), gamma
        self._frame_stack, self._episode_length = frame_stack, episode_length
        self.layout = self._ring = None

    # What a subclass may replace.

    def _free_bytes(self):
        return _layout.available_memory()

    def _checked_errors(self, td_error):
        """TD errors `[...]` as float64, before anything is stored."""
        raise ValueError(
            "Expected no `td_error`: all transitions of this buffer are drawn alike. "
            f"Received: td_error={td_error}. Use a prioritized buffer, or leave it out"
        )

    def _prioritize_new(self, index, displaced, td_error):
        """Sets priorities after an `add`, in a buffer that has them.

        Args:
            index: `[N]` int64, the new transitions; -1 for none.
            displaced: `[N, W]` int64, those they took the place of; -1 for none.
            td_error: What `_checked_errors` returned, or None.
        """

    def _bytes_of(self, layout):
        return layout.nbytes(self._bytes_per_step)

    def __repr__(self):
        size = _layout.readable(self.nbytes)
        return f"{type(self).__name__}({self.capacity:,} transitions, {size})"

    def __bool__(self):
        return True  # `if buffer` asks whether there is one, not whether it is full

    # Building

    @property
    def built(self):
        """Whether the shapes are known and memory is allocated."""
        return self._ring is not None

    @property
    def capacity(self):
        """Transitions held at most, a multiple of `num_envs`."""
        return self._capacity if self.layout is None else self.layout.capacity

    @property
    def nbytes(self):
        """Bytes allocated; 0 before `build`."""
        return self._bytes_of(self.layout) if self.built else 0

    def build(self, observation_spec, action_spec, num_envs=None):
        """Allocates the memory. The first `add` calls it if you did not.

        Prints the size of buffers from 100 MB on. Call it before a function that uses
        the buffer is traced: otherwise TensorFlow traces the function twice.

        Args:
            observation_spec: Gymnasium space, or nest of objects with `shape` and
                `dtype`, of one observation as the agent sees it (the whole stack).
            action_spec: The same of one action.
            num_envs: Integer or None, `N`. None means that of the constructor, or 1.

        Raises:
            ValueError: If memory does not suffice, or if it was built with other specs.
        """
        if None not in (num_envs, self.num_envs) and num_envs != self.num_envs:
            raise ValueError(
                f"Expected num_envs={self.num_envs}. Received: num_envs={num_envs}"
            )
        layout = _layout.Layout(
            self._capacity,
            num_envs or self.num_envs or 1,
            self._frame_stack,
            self._episode_length,
            observation_spec,
            action_spec,
        )
        if self.built:
            if str(layout) != str(self.layout):
                raise ValueError(f"Expected {self.layout}. Received: {layout}")
            return
        nbytes = self._bytes_of(layout)
        name = type(self).__name__
        _layout.check_memory(name, nbytes, layout.capacity, self._free_bytes())
        self.layout, self.num_envs = layout, layout.num_envs
        self._ring = self._make_ring()

    # Writing

    def add(
        self,
        observation,
        action,
        reward,
        terminated,
        truncated,
        next_observation,
        valid=None,
        td_error=None,
    ):
        """Stores one step of each environment.

        The fields are those of `kerasrl2.types.TimeStep`, with the observation that was
        acted on.

        Args:
            observation: `[N, ...]`, or a nest, of what was acted on.
            action: `[N]` or `[N, D]`, or a nest.
            reward: `[N]` float.
            terminated: `[N]` bool, the successor has the value 0.
            truncated: `[N]` bool, the episode was cut.
            next_observation: Like `observation`, the true successor.
            valid: `[N]` bool or None. Rows where it is False are not stored.
            td_error: `[N]` float or None, first TD errors if the actor knows them, for
                buffers with priorities. Any other buffer refuses them.

        Returns:
            `[N]` int64, the indices of the new transitions, -1 where not stored.
        """
        if td_error is not None:
            td_error = self._checked_errors(td_error)
        observation, action, following = (
            _map_arrays(self._array, x) for x in (observation, action, next_observation)
        )
        if not self.built:
            self._build_by_rows(observation, action)
        valid = [True] * self.num_envs if valid is None else valid
        index, displaced = self._ring.add(
            self._rows("observation", observation, self.layout.observation),
            self._rows("action", action, self.layout.action),
            self._column("reward", reward, np.float32),
            self._column("terminated", terminated),
            self._column("truncated", truncated),
            self._rows("next_observation", following, self.layout.observation),
            self._column("valid", valid),
        )
        self._prioritize_new(index, displaced, td_error)
        return index

    def add_rollout(self, rollout, td_error=None):
        """Stores `T` consecutive steps of each environment, as `T` calls of `add`.

        With `T = 1` it is one call of `add`. A longer block is a loop over its steps,
        in a graph a `tf.while_loop`, so that the size of the program does not depend
        on `T`; it copies no buffer. If anything has the wrong shape nothing is stored.

        Args:
            rollout: Object with the fields `observation`, `action`, `reward`,
                `terminated`, `truncated`, `valid` and `next_observation` of
                `kerasrl2.types.Rollout`: those of `add` with an axis `T` in front.
                `valid` may be None. `T` must be static.
            td_error: `[T, N]` float or None, first TD errors, for buffers with
                priorities. Any other buffer refuses them.

        Returns:
            `[T, N]` int64, the indices of the new transitions, -1 where not stored. Of
            a block longer than the buffer, the first ones are displaced already.

        Raises:
            ValueError: If the fields do not have one and the same static `T >= 1`, if
                a step does not fit the buffer, for `td_error` without priorities, or,
                eagerly, for one that is not finite.

        Example:
        >>> import numpy as np
        >>> from kerasrl2.buffers import NumpyReplayBuffer
        >>> from kerasrl2.types import Rollout
        >>> zeros, off = np.zeros([3, 2, 4], np.float32), np.zeros([3, 2], bool)
        >>> block = Rollout(zeros, off, zeros[..., 0], off, off, None, zeros)
        >>> NumpyReplayBuffer(100).add_rollout(block).tolist()
        [[0, 1], [2, 3], [4, 5]]
        """
        fields = {
            name: _map_arrays(self._array, getattr(rollout, name)) for name in FIELDS
        }
        if rollout.valid is not None:
            fields["valid"] = self._array(rollout.valid)
        if td_error is not None:
            fields["td_error"] = self._checked_errors(td_error)
        lengths = {tuple(leaf.shape)[:1] for leaf in tf.nest.flatten(fields)}
        if len(lengths) > 1 or lengths & {(), (0,), (None,)}:
            shapes = tf.nest.map_structure(lambda leaf: str(leaf.shape), fields)
            raise ValueError(
                "Expected a rollout of `[T, N, ...]`, with the same static T >= 1 in "
                f"all fields. Received: shapes {shapes}"
            )
        [[num_steps]] = lengths

        def step(t):
            return {
                name: _map_arrays(lambda rows: rows[t], value)
                for name, value in fields.items()
            }

        if num_steps == 1:
            return self.add(**step(0))[None]
        if not self.built:
            first = step(0)
            self._build_by_rows(first["observation"], first["action"])
        return self._stack_steps(num_steps, lambda t: self.add(**step(t)))

    def _build_by_rows(self, observation, action):
        num_envs, *specs = _layout.specs_from_rows(
            observation, action, self._frame_stack
        )
        self.build(*specs, num_envs=num_envs)

    def _rows(self, name, value, specs):
        """Leaves `[N, ...]` of a nest, checked; of stacks of frames the newest."""
        tf.nest.assert_same_structure(specs, value)
        rows = []
        for spec, leaf in zip(
            tf.nest.flatten(specs), tf.nest.flatten(value), strict=True
        ):
            shape, kind = tuple(leaf.shape), tf.as_dtype(leaf.dtype)
            lossy = kind.is_floating and not tf.as_dtype(spec.dtype).is_floating
            whole, newest = (self.num_envs, *spec.shape), (self.num_envs, *spec.stored)
            if shape not in (whole, newest) or lossy:
                or_frames = f" (or single frames {newest})" if spec.stack > 1 else ""
                raise ValueError(
                    f"Expected `{name}` of shape {whole}{or_frames} and dtype "
                    f"{np.dtype(spec.dtype).name}. Received: shape {shape}, dtype "
                    f"{kind.name}"
                )
            if shape != newest:
                leaf = leaf[..., -spec.stored[-1] :]
            rows.append(self._array(leaf, spec.dtype))
        return rows

    def _column(self, name, value, dtype=np.bool_):
        value = self._array(value, dtype)
        if tuple(value.shape) != (self.num_envs,):
            raise ValueError(
                f"Expected `{name}` of shape {(self.num_envs,)}. "
                f"Received: shape {tuple(value.shape)}"
            )
        return value

    def clear(self):
        """Forgets all transitions. Indices handed out before stay stale."""
        self._check_built()
        self._ring.clear()

    # Asking

    def sizes(self):
        """`[N]` int64, transitions held per environment."""
        self._check_built()
        return self._ring.sizes()

    def added(self):
        """Scalar int64, transitions stored so far, forgotten ones included."""
        self._check_built()
        return self._ring.added()

    def __len__(self):
        return int(sum(np.asarray(self.sizes()))) if self.built else 0

    def holds(self, index):
        """`[B]` bool, whether the transitions `[B]` have not been displaced."""
        self._check_built()
        return self._ring.holds(self._array(index, np.int64))

    # Drawing

    def sample(self, batch_size, seed=None, gamma=None):
        """Draws with replacement, each transition with the same probability.

        Args:
            batch_size: Integer, `B`.
            seed: `[2]` int, stateless seed, or None for the buffer's own generator. The
                two back ends draw different transitions.
            gamma: Number or scalar tensor (float64 or float32), in place of the
                buffer's own `gamma` in this call; None takes the buffer's.

        Returns:
            `(index, Transition)`: `[B]` int64, numbers that are never used for another
            transition, and what they name. An empty buffer raises a `ValueError`
            eagerly; in a graph it gives indices of -1 with weights of 0.
        """
        self._check_sample(batch_size)
        seed = self._next_seed() if seed is None else seed
        index = self._ring.positions(self._uniform([batch_size], seed))
        return index, self.get(index, gamma=gamma)

    def get(self, index, weight=None, gamma=None):
        """The transitions of given indices.

        Args:
            index: `[B]` int, of transitions the buffer `holds`.
            weight: `[B]` float32 or None, what to return as weight; None gives ones,
                and zeros where `index` is -1.
            gamma: Number or scalar tensor (float64 or float32), in place of the
                buffer's own `gamma` in this call; None takes the buffer's.

        Returns:
            `Transition`.
        """
        self._check_built()
        index = self._array(index, np.int64)
        if weight is None:
            weight = self._array(index >= 0, np.float32)
        return self._ring.get(index, weight, self._powers(gamma))

    def _powers(self, gamma):
        """`gamma**0`, ..., `gamma**n_step` as float32; by None the buffer's own.

        Multiplied up one by one in float64: `pow` rounds differently in NumPy,
        TensorFlow and XLA, a product does not. (Graphs round powers below 1e-38 to 0.)
        An array where the value of gamma is known; inside a graph a tensor, whose range
        is not checked.
        """
        gamma = self.gamma if gamma is None else gamma
        if tf.is_tensor(gamma):
            dtype = tf.as_dtype(gamma.dtype)
            if tuple(gamma.shape) != () or dtype not in (tf.float64, tf.float32):
                raise ValueError(
                    "Expected `gamma` as a number or a scalar tensor of float64 or "
                    f"float32. Received: shape {tuple(gamma.shape)}, dtype {dtype.name}"
                )
            gamma = tf.convert_to_tensor(gamma)
            if not tf.executing_eagerly():
                gamma = tf.cast(gamma, tf.float64)
                powers = [tf.ones_like(gamma)]
                for _ in range(self.n_step):
                    powers.append(powers[-1] * gamma)
                return tf.cast(tf.stack(powers), tf.float32)
            gamma = float(gamma)
        check_range("gamma", gamma, 0.0, 1.0)
        factors = np.full([self.n_step + 1], gamma, np.float64)
        factors[0] = 1.0
        return np.cumprod(factors).astype(np.float32)

    def _check_sample(self, batch_size):
        check_positive_integer("batch_size", batch_size)
        self._check_built()
        if tf.executing_eagerly() and not len(self):
            raise ValueError("Expected a buffer with transitions. Received: none yet")

    def _check_built(self):
        if not self.built:
            raise ValueError("Expected a built buffer. Call `build` or `add` first")


def _map_arrays(convert, value):
    """`convert` on the leaves of dictionaries and tuples; a list is an array."""
    if isinstance(value, dict):
        return {key: _map_arrays(convert, part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_map_arrays(convert, part) for part in value)
    return convert(value)
