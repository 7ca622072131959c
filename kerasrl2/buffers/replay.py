"""Replay buffer in TensorFlow variables, drawn uniformly."""

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2._seeds import drawn_seed
from kerasrl2.buffers._base import Replay
from kerasrl2.buffers._flat_ring import FlatRing
from kerasrl2.buffers._inputs import indices, powers_of
from kerasrl2.buffers._ring import Ring
from kerasrl2.buffers._variables import as_tensor, uniform
from kerasrl2.types import ReplayedSequences


@keras.saving.register_keras_serializable(package="kerasrl2")
class ReplayBuffer(Replay, tf.Module):
    """The last `capacity` transitions of `N` environments, drawn uniformly.

    All methods work eagerly, inside `tf.function` and under XLA, on fixed sizes, and
    none copies the buffer. All state is in variables: a `tf.train.Checkpoint` holds it.
    To add a step and to draw 64 transitions takes XLA 2 us, a graph 80 us, but 25 us
    through one `tf.function(..., jit_compile=True)` inside it. Op by op it takes some
    ms: in a loop in Python use such functions or `NumpyReplayBuffer`.

    Each environment has a column of its own with its own write head, so a row that is
    not `valid` leaves no hole. A transition keeps its number for ever (`index`, see
    `sample`), and the newest one displaces the oldest one of its column.

    - Observations up to 1 kB are stored with their successor, a transition in one row.
      A larger one is stored once: the successor of a step is the observation of the
      next one. Then the final observation of an episode takes one more row.
    - If `add` gets an observation that is not the last `next_observation` of its
      column, a new episode begins there: transitions may come in any order.
    - n-step transitions are made when they are drawn. They stop at termination,
      truncation and the write head, and bootstrap from the last successor there.
    - With `frame_stack`, only the newest frame of each observation is stored. Stacks
      repeat the first frame of the episode before it, as Gymnasium's
      `FrameStackObservation` does, and never reach into another episode.

    Args:
        capacity: Integer >= 1, transitions; rounded up to a multiple of `num_envs`.
        num_envs: Integer or None, `N`. None takes it from `build` or the first `add`.
        n_step: Integer >= 1, rewards summed per transition, in env steps.
        gamma: Float in [0, 1], the discount of a step.
        frame_stack: Integer >= 1, or a nest of them like the observations. Above 1 the
            last axis of an observation holds that many frames, oldest first.
        episode_length: Integer or None. The mean length down to which `capacity`
            transitions are really held: final observations of shorter episodes displace
            old transitions. None means 64 for observations above 1 kB; `capacity` of
            smaller ones are held always.
        seed: Integer or None, of `sample` without a seed; None draws one.
        name: String or None.

    Example:
    >>> buffer = ReplayBuffer(capacity=3, n_step=2, gamma=0.5)
    >>> for t in range(4):
    ...     index = buffer.add([[t]], [t], [1.0], [t == 3], [False], [[t + 1]])
    >>> len(buffer)
    3
    >>> batch = buffer.get([1, 2, 3])
    >>> batch.reward.numpy().tolist()
    [1.5, 1.5, 1.0]
    >>> batch.discount.numpy().tolist()
    [0.25, 0.0, 0.0]
    >>> index, batch = buffer.sample(5, seed=[0, 1])
    >>> batch.observation.shape
    TensorShape([5, 1])
    """

    not_state = ("_first_seed",)  # `_state.state_of`: no program depends on it
    _array, _uniform = staticmethod(as_tensor), staticmethod(uniform)

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
        name=None,
    ):
        tf.Module.__init__(self, name=name)
        self._configure(capacity, num_envs, n_step, gamma, frame_stack, episode_length)
        seed = drawn_seed() if seed is None else int(seed)
        self._first_seed = seed
        start = tf.constant([seed, 0], tf.int64)
        self._seed = tf.Variable(start, trainable=False, name="seed")

    @property
    def gamma(self):
        """The discount of a step; a variable, so that to change it compiles nothing."""
        value = self._gamma.read_value()
        return value if tf.inside_function() else float(value)

    @gamma.setter
    def gamma(self, gamma):
        check_range("gamma", gamma, 0.0, 1.0)
        if hasattr(self, "_gamma"):
            self._gamma.assign(gamma)
        else:
            self._gamma = tf.Variable(
                gamma, trainable=False, dtype=tf.float64, name="gamma"
            )

    def sequences(self, index, length, weight=None, gamma=None):
        """Sequences of consecutive steps of one environment each.

        They begin with given transitions, or as much earlier as it takes for `length`
        steps, and do not stop where episodes end. `n_step` does not matter.

        Args:
            index: `[B]` int64, from `sample`; -1 for none.
            length: Integer >= 1, `L`.
            weight: `[B]` float32 or None, what to return as weight; None gives ones.
            gamma: Number or scalar tensor, in place of the buffer's own `gamma`.

        Returns:
            `types.ReplayedSequences`, `[B, L, ...]`.

        Example:
        >>> buffer = ReplayBuffer(8, gamma=0.5)
        >>> for t in range(4):
        ...     index = buffer.add([[t]], [t], [1.0], [t == 1], [False], [[t + 1]])
        >>> batch = buffer.sequences([0, 3], length=3)
        >>> batch.action.numpy().tolist(), batch.discount.numpy()[0].tolist()
        ([[0, 1, 2], [1, 2, 3]], [0.5, 0.0, 0.5])
        >>> batch.ended.numpy()[0].tolist()
        [False, True, True]
        """
        self._check_built()
        check_positive_integer("length", length)
        steps = self._ring.whole(indices(index, self._array), length)
        rows = tf.reshape(steps, [-1])
        held = self._ring.holds(rows)
        powers = powers_of(self.gamma if gamma is None else gamma, 1)
        batch = self._ring.get(rows, tf.cast(held, tf.float32), powers)
        batch, begins, held = tf.nest.map_structure(
            lambda leaf: tf.reshape(leaf, [*steps.shape, *leaf.shape[1:]]),
            (batch, self._ring.begins(rows), held),
        )
        ended = tf.pad((begins | ~held)[:, 1:], [[0, 0], [0, 1]], constant_values=True)
        if weight is None:
            weight = tf.ones([steps.shape[0]])
        fields = batch._asdict()
        del fields["memory"]
        return ReplayedSequences(
            **{**fields, "weight": weight}, ended=ended, valid=held
        )

    def as_dataset(self, batch_size, steps=None, with_index=False):
        """`tf.data.Dataset` of batches, each drawn when it is asked for.

        Args:
            batch_size: Integer, `B`.
            steps: Integer or None, batches until the data set ends; None means never.
            with_index: Boolean, whether an element is `(index, Transition)`.

        Returns:
            `tf.data.Dataset` of `Transition`.
        """
        self._check_built()

        def draw(_):
            index, batch = self.sample(batch_size)
            return (index, batch) if with_index else batch

        steps = np.iinfo(np.int64).max if steps is None else steps
        return tf.data.Dataset.range(steps).map(draw)

    def get_config(self):
        """Keywords of the constructor; what is stored is not in it."""
        return {
            "capacity": self._capacity,
            "num_envs": self._given_num_envs,
            "n_step": self.n_step,
            "gamma": self.gamma,
            "frame_stack": _plain(self._frame_stack),
            "episode_length": self._episode_length,
            "seed": self._first_seed,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def _bytes_of(self, layout):
        return layout.nbytes(self._bytes_per_step, layout.flat)

    def _make_ring(self):
        with tf.init_scope():
            return FlatRing(self.layout) if self.layout.flat else Ring(self.layout)

    def _stack_steps(self, num_steps, add):
        def step(t, indices):
            return t + 1, indices.write(t, add(t))

        shape = [self.num_envs]
        indices = tf.TensorArray(tf.int64, num_steps, element_shape=shape)
        _, indices = tf.while_loop(
            lambda t, _: t < num_steps,
            step,
            (tf.constant(0), indices),
            parallel_iterations=1,  # a step follows what the last one stored
            maximum_iterations=num_steps,
        )
        return indices.stack()

    def _next_seed(self):
        seed = self._seed.read_value()
        self._seed.assign(seed + tf.constant([0, 1], tf.int64))
        return seed


def _plain(nest):
    """`nest` without the wrappers that `tf.Module` puts around what it keeps."""
    if isinstance(nest, dict):
        return {key: _plain(part) for key, part in nest.items()}
    return tuple(map(_plain, nest)) if isinstance(nest, tuple | list) else nest
