"""Random sequences of calls on the buffers, against lists and dictionaries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrl2.buffers import (
    NumpyPrioritizedReplayBuffer,
    NumpyReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
)
from tests.buffers.naive import Feeder, NaiveReplay, columns_of
from tests.fuzzing import fuzz

pytestmark = pytest.mark.long

EPSILON, BETA = 0.01, 0.4


class Pair:
    """A buffer and a naive one, which are asked the same.

    Args:
        make: Class of the buffer.
        hyperparameters: `(capacity, num_envs, n_step, stack, episode_length,
            alpha)`; an `alpha` of None makes a uniform buffer.
        seed: Integer, of all that is stored and drawn.
    """

    def __init__(self, make, hyperparameters, seed):
        capacity, num_envs, n_step, stack, episode_length, alpha = hyperparameters
        storage = {"n_step": n_step, "gamma": 0.9, "frame_stack": stack}
        storage |= {"episode_length": episode_length, "seed": seed}
        if alpha is not None:
            storage |= {"alpha": alpha, "beta": BETA, "beta_steps": 10**9}
            storage["epsilon"] = EPSILON
        self.buffer = make(capacity, num_envs, **storage)
        self.alpha, self.num_envs = alpha, num_envs
        self.exact = episode_length is None and stack == 1
        self.naive = NaiveReplay(num_envs, n_step, 0.9)
        self.feeder = Feeder(num_envs, stack, seed, jumps=0.1)
        self.rng = np.random.default_rng(seed)
        self.keys, self.highest = {}, 1.0  # `|delta| + epsilon` of each index
        self.forgotten = np.zeros(num_envs, int)  # by `clear`

    def held(self):
        """Indices that must be held, and are said to be."""
        if not self.buffer.built:
            return np.zeros(0, np.int64)
        counts = np.array([len(column) for column in self.naive.columns])
        sizes = np.asarray(self.buffer.sizes())
        steps = self.buffer.capacity // self.num_envs
        most = np.minimum(counts - self.forgotten, steps)
        if self.exact:
            np.testing.assert_array_equal(sizes, most)
        assert (np.minimum(most, 1) <= sizes).all()
        assert (sizes <= most).all()
        assert len(self.buffer) == sizes.sum()
        held = [
            number * self.num_envs + n
            for n in range(self.num_envs)
            for number in range(counts[n] - sizes[n], counts[n])
        ]
        everything = np.arange(-self.num_envs, counts.max() * self.num_envs + 3)
        said = np.asarray(self.buffer.holds(everything))
        np.testing.assert_array_equal(everything[said], sorted(held))
        return np.array(held, np.int64)

    def check(self):
        """All that is held is what was stored, with its priority."""
        held = self.held()
        if not len(held):
            return
        self.check_batch(held, self.buffer.get(held))
        if self.alpha is not None:
            wanted = self.priorities(held)
            found = np.asarray(self.buffer.probability(held))
            np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=1e-9)
            gone = np.array([held.max() + self.num_envs])
            assert np.asarray(self.buffer.probability(gone)) == [0.0]

    def priorities(self, index):
        return np.array([self.keys[int(i)] for i in index]) ** self.alpha

    def check_batch(self, index, batch):
        rows = [self.naive.get(int(i)) for i in index]
        now, action, reward, discount, then = map(np.array, zip(*rows, strict=True))
        np.testing.assert_array_equal(batch.observation, now)
        np.testing.assert_array_equal(batch.next_observation, then)
        np.testing.assert_array_equal(batch.action, action)
        np.testing.assert_allclose(batch.reward, reward, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(batch.discount, discount, rtol=1e-5)

    # Calls

    def add(self):
        rows, valid = self.feeder.step()
        numbers = [len(column) for column in self.naive.columns]
        self.naive.add(rows, valid)
        index = np.asarray(self.buffer.add(*columns_of(rows, valid)))
        expected = [
            number * self.num_envs + n if keep else -1
            for n, (number, keep) in enumerate(zip(numbers, valid, strict=True))
        ]
        np.testing.assert_array_equal(index, expected)
        self.keys |= {int(i): self.highest for i in index if i >= 0}

    def sample(self):
        held, size = self.held(), int(self.rng.integers(1, 9))
        if not len(held):
            with pytest.raises(ValueError, match="Expected a"):
                self.buffer.sample(size)
            return
        index, batch = self.buffer.sample(size)
        index = np.asarray(index)
        assert index.shape == (size,)
        assert set(index.tolist()) <= set(held.tolist())
        self.check_batch(index, batch)
        weight = np.ones(size)
        if self.alpha is not None:
            priority = self.priorities(index)
            weight = (priority.min() / priority) ** BETA
        np.testing.assert_allclose(batch.weight, weight, rtol=1e-4)

    def update(self):
        """Priorities of any indices: held, displaced, -1, and twice.

        One that was never handed out is refused, and then all stay as they are.
        """
        if self.alpha is None or not self.buffer.built:
            return
        held, size = self.held(), int(self.rng.integers(1, 9))
        highest = max(held, default=0) + 5
        index = self.rng.integers(-1, highest, size)
        errors = self.rng.choice([0.0, 0.5, -3.0, 1e-12, -1e6, 1e30], size)
        counts = np.array([len(column) for column in self.naive.columns])
        unknown = index // self.num_envs >= counts[index % self.num_envs]
        if (unknown & (index >= 0)).any():
            with pytest.raises(ValueError, match="Expected indices that `add` or"):
                self.buffer.update_priorities(index, errors)
            index = np.where(unknown, -1, index)
        self.buffer.update_priorities(index, errors)
        new = {}
        for i, error in zip(index.tolist(), errors, strict=True):
            if i in set(held.tolist()):
                new[i] = max(new.get(i, 0.0), abs(error) + EPSILON)
        self.keys |= new
        self.highest = max([self.highest, *new.values()])
        assert float(self.buffer.max_priority) == self.highest

    def refuse(self):
        """What is not finite or of another shape changes nothing."""
        if not self.buffer.built:
            return
        if self.alpha is not None:
            bad = self.rng.choice([np.nan, np.inf, -np.inf])
            self.buffer.update_priorities([-1], [bad])  # of no transition
            if len(self.held()):
                index = np.resize(self.held(), 2)
                with pytest.raises(ValueError, match="finite TD errors"):
                    self.buffer.update_priorities(index, [1.0, bad])
        rows, valid = self.feeder.step()
        fields = columns_of(rows, valid)
        place = int(self.rng.integers(len(fields)))
        fields[place] = np.concatenate([fields[place], fields[place]])
        with pytest.raises(ValueError, match=r"Expected|shape"):
            self.buffer.add(*fields)
        self.feeder.current = [None] * self.num_envs  # those rows were not stored

    def clear(self):
        if not self.buffer.built:
            return
        self.buffer.clear()
        self.forgotten = np.array([len(column) for column in self.naive.columns])
        self.feeder.current = [None] * self.num_envs


CALLS = ["add"] * 8 + ["sample", "sample", "update", "update", "refuse", "clear"]
SETTINGS = st.tuples(
    st.integers(1, 12),  # capacity
    st.integers(1, 3),  # num_envs
    st.integers(1, 3),  # n_step
    st.sampled_from([1, 1, 2, 3]),  # frame_stack
    st.sampled_from([None, None, 1, 4]),  # episode_length
    st.sampled_from([None, 0.0, 0.6, 1.0]),  # alpha
)
SEEDS = st.integers(0, 2**31 - 1)


def play(make, hyperparameters, seed, calls):
    pair = Pair(make, hyperparameters, seed)
    for name in calls:
        getattr(pair, name)()
    pair.check()


def sequences(longest):
    return st.lists(st.sampled_from(CALLS), min_size=1, max_size=longest)


@fuzz(2500)
@given(hyperparameters=SETTINGS, seed=SEEDS, calls=sequences(25))
def test_numpy(hyperparameters, seed, calls):
    uniform = hyperparameters[-1] is None
    make = NumpyReplayBuffer if uniform else NumpyPrioritizedReplayBuffer
    play(make, hyperparameters, seed, calls)


@fuzz(60)
@given(hyperparameters=SETTINGS, seed=SEEDS, calls=sequences(12))
def test_tensorflow(hyperparameters, seed, calls):
    make = ReplayBuffer if hyperparameters[-1] is None else PrioritizedReplayBuffer
    play(make, hyperparameters, seed, calls)
