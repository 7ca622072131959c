"""One suite for the uniform buffers of both back ends."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import NumpyReplayBuffer, ReplayBuffer, Transition
from tests.buffers.naive import (
    MODES,
    Feeder,
    NaiveReplay,
    as_arguments,
    columns_of,
    wrap,
)

SCALAR = tf.TensorSpec([1], tf.float32), tf.TensorSpec([], tf.int32)


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture(params=[NumpyReplayBuffer, ReplayBuffer])
def make(request):
    return request.param


def of(mode):
    return NumpyReplayBuffer if mode == "numpy" else ReplayBuffer


def feed(buffer, numbers, **more):
    """Adds steps 0, 1, ... of one endless episode: observation and action `t`."""
    for t in numbers:
        fields = {
            "observation": np.array([[t]], np.float32), "action": [t], "reward": [1.0],
            "terminated": [False], "truncated": [False],
            "next_observation": np.array([[t + 1]], np.float32),
        }  # fmt: skip
        buffer.add(**(fields | {k: [v(t)] for k, v in more.items()}))


CASES = [  # num_envs, capacity, n_step, stack, episode_length, jumps
    (1, 7, 1, 1, None, 0.1),  # transitions stored whole
    (3, 18, 3, 1, None, 0.1),
    (2, 14, 2, 1, 4, 0.1),  # observations once
    (2, 20, 5, 4, 3, 0.1),
]


QUICK = {"graph": (CASES[0], CASES[2]), "xla": (CASES[1], CASES[3])}


@pytest.mark.parametrize(
    ("mode", "case"),
    [
        pytest.param(
            mode, case, marks=() if case in QUICK.get(mode, CASES) else pytest.mark.long
        )
        for mode in MODES
        for case in CASES
    ],
    ids=str,
)
def test_random_episodes_against_a_naive_buffer(mode, case):
    num_envs, capacity, n_step, stack, episode_length, jumps = case
    gamma, steps = 0.9, capacity // num_envs
    buffer = of(mode)(
        capacity, num_envs, n_step=n_step, gamma=gamma, frame_stack=stack,
        episode_length=episode_length,
    )  # fmt: skip
    buffer.build(tf.TensorSpec([stack], tf.float32), tf.TensorSpec([], tf.int32))
    add, get = wrap(mode, buffer.add), wrap(mode, buffer.get)
    feeder = Feeder(num_envs, stack, seed=capacity, jumps=jumps)
    naive = NaiveReplay(num_envs, n_step, gamma)
    fewest = steps
    for time in range(12 if mode == "eager" else 80):
        rows, valid = feeder.step()
        before = [len(column) for column in naive.columns]
        naive.add(rows, valid)
        index = add(*as_arguments(mode, columns_of(rows, valid)))
        expected = np.where(valid, np.array(before) * num_envs + range(num_envs), -1)
        np.testing.assert_array_equal(index, expected)

        sizes = np.asarray(buffer.sizes())
        counts = np.array([len(column) for column in naive.columns])
        if episode_length is None:
            np.testing.assert_array_equal(sizes, np.minimum(counts, steps))
        assert np.all(sizes <= np.minimum(counts, steps))
        assert np.all(sizes >= np.minimum(counts, 1))
        fewest = min([fewest, *sizes[counts >= steps]])
        held = [
            number * num_envs + n
            for n in range(num_envs)
            for number in range(counts[n] - sizes[n], counts[n])
        ]
        if (mode != "numpy" and time % 4) or not held:
            continue
        index = np.resize(held, capacity)  # one shape, one trace
        [argument] = as_arguments(mode, [index])
        batch = get(argument)
        assert batch.reward.dtype == np.float32
        assert batch.discount.dtype == np.float32
        for position, i in enumerate(held):
            now, action, reward, discount, then = naive.get(i)
            np.testing.assert_array_equal(batch.observation[position], now)
            np.testing.assert_array_equal(batch.next_observation[position], then)
            assert batch.action[position] == action
            np.testing.assert_allclose(batch.reward[position], reward, atol=1e-5)
            np.testing.assert_allclose(batch.discount[position], discount, rtol=1e-5)
    if episode_length is None:
        assert fewest == steps
    if mode in ("graph", "xla"):
        assert add.experimental_get_tracing_count() == 1
        assert get.experimental_get_tracing_count() == 1


def test_holds_the_last_of_them_equally_likely(make):
    buffer = make(3)
    feed(buffer, range(5))
    assert len(buffer) == 3
    assert int(buffer.added()) == 5
    index, batch = buffer.sample(300_000, seed=[0, 1])
    np.testing.assert_array_equal(index, batch.action)
    counts = np.bincount(batch.action)
    assert not counts[:2].any()
    np.testing.assert_allclose(counts[2:] / 3e5, 1 / 3, atol=0.005)
    assert np.all(np.asarray(batch.weight) == 1.0)


def test_draws_are_uniform_over_columns_of_unequal_fill(make):
    buffer = make(40, num_envs=4, seed=0)
    for t in range(12):  # fills of 0, 4, 8 and 10
        valid = [False, t < 4, t < 8, True]
        row = np.full([4, 1], t, np.float32)
        buffer.add(row, [t] * 4, [0.0] * 4, [False] * 4, [False] * 4, row + 1, valid)
    sizes = np.asarray(buffer.sizes())
    np.testing.assert_array_equal(sizes, [0, 4, 8, 10])
    index = np.asarray(buffer.sample(220_000)[0])
    assert np.asarray(buffer.holds(index)).all()
    counts = np.bincount(index)
    held = counts[counts > 0]
    assert len(held) == 22
    # Chi-square with 21 degrees of freedom: 46.8 is exceeded once in a thousand.
    assert np.sum((held - 10_000) ** 2 / 10_000) < 46.8


def test_terminated_and_truncated_differ(make):
    buffer = make(8, gamma=0.5)
    feed(buffer, range(4), terminated=lambda t: t == 1, truncated=lambda t: t >= 1)
    batch = buffer.get([0, 1, 2])
    np.testing.assert_array_equal(batch.discount, [0.5, 0.0, 0.5])
    np.testing.assert_array_equal(batch.next_observation[:, 0], [1.0, 2.0, 3.0])


def test_truncation_returns_the_final_not_the_first_observation(make):
    buffer = make(8)
    flag = [False]
    buffer.add([[1.0]], [0], [0.0], flag, [True], [[99.0]])
    buffer.add([[5.0]], [0], [0.0], flag, flag, [[6.0]])
    batch = buffer.get([0, 1])
    np.testing.assert_array_equal(batch.next_observation, [[99.0], [6.0]])


# By hand: rewards 1, 2, 3, 4, ..., gamma 0.5. Step 2 ends the first episode.
N_STEP = [
    (3, "terminated", [1 + 1 + 0.75, 2 + 1.5, 3.0, 4 + 2.5], [0.0, 0.0, 0.0, 0.25]),
    (3, "truncated", [2.75, 3.5, 3.0, 6.5], [0.125, 0.25, 0.5, 0.25]),
    (2, "truncated", [2.0, 3.5, 3.0, 6.5], [0.25, 0.25, 0.5, 0.25]),
    (9, "terminated", [2.75, 3.5, 3.0, 6.5], [0.0, 0.0, 0.0, 0.25]),
]


@pytest.mark.parametrize(("n", "flag", "reward", "discount"), N_STEP)
def test_n_step_by_hand(make, n, flag, reward, discount):
    buffer = make(8, n_step=n, gamma=0.5)
    end = {flag: lambda t: t == 2}
    feed(buffer, range(5), reward=lambda t: t + 1.0, **end)
    batch = buffer.get([0, 1, 2, 3])
    np.testing.assert_allclose(batch.reward, reward)
    np.testing.assert_allclose(batch.discount, discount)
    np.testing.assert_array_equal(
        batch.next_observation[:, 0], [2 if n == 2 else 3, 3, 3, 5]
    )


def test_three_steps_of_ape_x(make):
    # r = 1, 2, 3 and a value of 10 at gamma 0.9: 12.52.
    buffer = make(8, n_step=3, gamma=0.9)
    feed(buffer, range(3), reward=lambda t: t + 1.0)
    batch = buffer.get([0])
    np.testing.assert_allclose(batch.reward + 10 * batch.discount, [12.52], rtol=1e-6)


def test_last_steps_are_not_lost(make):
    buffer = make(8, n_step=5, gamma=1.0)
    feed(buffer, range(3))
    drawn = np.unique(np.asarray(buffer.sample(200, seed=[1, 2])[0]))
    np.testing.assert_array_equal(drawn, [0, 1, 2])
    np.testing.assert_array_equal(buffer.get([0, 1, 2]).reward, [3.0, 2.0, 1.0])


def test_index_is_never_used_again(make):
    buffer = make(4, num_envs=2)
    row = np.zeros([2, 1], np.float32)
    fields = (row, [0, 0], [0.0, 0.0], [False] * 2, [False] * 2, row)
    indices = np.concatenate([np.asarray(buffer.add(*fields)) for _ in range(5)])
    np.testing.assert_array_equal(indices, np.arange(10))
    held = np.asarray(buffer.holds(np.arange(-1, 12)))
    np.testing.assert_array_equal(np.arange(-1, 12)[held], [6, 7, 8, 9])
    buffer.clear()
    assert not np.asarray(buffer.holds(np.arange(12))).any()
    np.testing.assert_array_equal(buffer.add(*fields), [10, 11])
    np.testing.assert_array_equal(buffer.get([10]).observation, [[0.0]])


def test_clear_begins_a_new_episode(make):
    buffer = make(6, n_step=3, gamma=1.0)
    feed(buffer, range(3))
    buffer.clear()
    assert len(buffer) == 0
    assert buffer  # an empty buffer is not "no buffer"
    feed(buffer, range(3, 5))
    np.testing.assert_array_equal(np.unique(buffer.sample(50)[0]), [3, 4])
    np.testing.assert_array_equal(buffer.get([3, 4]).reward, [2.0, 1.0])


def test_dictionaries_of_observations(mode):
    buffer = of(mode)(12, num_envs=2, frame_stack={"image": 2, "state": 1})
    image = tf.TensorSpec([3, 3, 2], tf.uint8)
    state = tf.TensorSpec([2], tf.float32)
    buffer.build({"state": state, "image": image}, tf.TensorSpec([1], tf.float32))
    add, get = wrap(mode, buffer.add), wrap(mode, buffer.get)
    sizes = {spec.stored for spec in buffer.layout.observation.values()}
    assert sizes == {(3, 3, 1), (2,)}

    def observation(t):
        frames = [np.full([2, 3, 3], max(k, 0), np.uint8) for k in (t - 1, t)]
        return {
            "image": np.stack(frames, -1),
            "state": np.array([[t, -t], [t, t]], np.float32),
        }

    off = np.zeros([2], bool)
    for t in range(9):
        action, reward = np.full([2, 1], t, np.float32), np.zeros([2], np.float32)
        fields = [observation(t), action, reward, off, off, observation(t + 1), ~off]
        if mode in ("graph", "xla"):
            fields = tf.nest.map_structure(tf.constant, fields)
        add(*fields)
    [index] = as_arguments(mode, [np.arange(6, 18)])
    batch = get(index)
    for position, (number, n) in enumerate(divmod(i, 2) for i in range(6, 18)):
        for found, t in (
            (batch.observation, number),
            (batch.next_observation, number + 1),
        ):
            for key, value in observation(t).items():
                np.testing.assert_array_equal(found[key][position], value[n])
        assert batch.action[position, 0] == number


def test_first_add_builds(make):
    buffer = make(10)
    with pytest.raises(ValueError, match="Call `build` or `add` first"):
        buffer.sample(1)
    with pytest.raises(ValueError, match="Call `build` or `add` first"):
        buffer.as_dataset(1)
    observation = np.zeros([4, 3])
    buffer.add(observation, np.zeros([4, 2]), *[[0.0] * 4] * 3, observation)
    assert (buffer.num_envs, buffer.capacity, len(buffer)) == (4, 12, 4)
    batch = buffer.sample(5)[1]
    assert isinstance(batch, Transition)
    assert batch.observation.dtype == np.float32  # float64 is not worth its room
    assert batch.action.shape == (5, 2)
    assert "12 transitions" in repr(buffer)


def test_build_by_gymnasium_spaces(make):
    from gymnasium import spaces

    buffer = make(10, num_envs=2)
    observation = spaces.Dict({"a": spaces.Box(0, 255, [4, 4], np.uint8)})
    buffer.build(observation, spaces.Discrete(3))
    buffer.build(observation, spaces.Discrete(3), num_envs=2)  # the same again
    with pytest.raises(ValueError, match=r"Expected observations .*uint8\[4, 4\]"):
        buffer.build(spaces.Box(0, 1, [4]), spaces.Discrete(3))
    with pytest.raises(ValueError, match="Expected num_envs=2"):
        buffer.build(observation, spaces.Discrete(3), num_envs=3)


def test_empty_buffer(make):
    buffer = make(4)
    buffer.build(*SCALAR)
    with pytest.raises(ValueError, match="Expected a buffer with transitions"):
        buffer.sample(2)


BAD_ROWS = [
    ({"observation": np.zeros([2, 1])}, r"`observation` of shape \(1, 1\)"),
    ({"observation": np.zeros([1])}, r"`observation` of shape"),
    ({"next_observation": np.zeros([1, 2])}, "`next_observation` of shape"),
    ({"action": np.array([0.5])}, "`action` of shape .* int32"),
    ({"reward": [[1.0]]}, r"`reward` of shape \(1,\)"),
    ({"terminated": [False, True]}, "`terminated` of shape"),
    ({"valid": True}, "`valid` of shape"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD_ROWS)
def test_rows_of_the_wrong_shape(make, wrong, message):
    buffer = make(4)
    buffer.build(*SCALAR)
    row = np.zeros([1, 1], np.float32)
    fields = {
        "observation": row, "action": [0], "reward": [0.0], "terminated": [False],
        "truncated": [False], "next_observation": row,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        buffer.add(**(fields | wrong))
    assert len(buffer) == 0


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("capacity", 0), ("num_envs", 0), ("n_step", 0), ("gamma", 1.5),
        ("frame_stack", 0), ("frame_stack", 65), ("episode_length", 0),
    ],
)  # fmt: skip
def test_arguments_are_checked(make, argument, value):
    with pytest.raises(ValueError, match=argument):
        make(**({"capacity": 3} | {argument: value}))


def test_batch_size_is_checked(make):
    buffer = make(4)
    feed(buffer, range(2))
    with pytest.raises(ValueError, match="batch_size"):
        buffer.sample(0)


def test_as_dataset(make):
    buffer = make(4, seed=0)
    feed(buffer, range(6))
    dataset = buffer.as_dataset(32, steps=3)
    batches = list(dataset)
    assert len(batches) == 3
    assert isinstance(batches[0], Transition)
    assert dataset.element_spec.observation.shape == (32, 1)
    drawn = np.concatenate([batch.action.numpy() for batch in batches])
    assert set(drawn.tolist()) == {2, 3, 4, 5}
    assert len({tuple(batch.action.numpy()) for batch in batches}) == 3
    for index, batch in buffer.as_dataset(8, steps=2, with_index=True):
        np.testing.assert_array_equal(index, batch.action)
    iterator = iter(buffer.as_dataset(64))  # sees what is added later
    feed(buffer, range(6, 10))
    assert set(next(iterator).action.numpy().tolist()) <= {6, 7, 8, 9}


def test_dataset_feeds_keras(make):
    import keras

    class Learner(keras.Model):
        def train_step(self, batch):
            return {"mean": tf.reduce_mean(batch.reward)}

    buffer = make(4, seed=0)
    feed(buffer, range(6))
    learner = Learner()
    learner.compile()
    history = learner.fit(
        buffer.as_dataset(16, steps=5), shuffle=False, verbose=0
    ).history
    assert history["mean"] == [1.0]


def test_seeds(make):
    one, other = make(100, seed=3), make(100, seed=3)
    for buffer in (one, other):
        feed(buffer, range(100))
    first, again = np.asarray(one.sample(20)[0]), np.asarray(other.sample(20)[0])
    np.testing.assert_array_equal(first, again)
    assert np.any(first != np.asarray(one.sample(20)[0]))
    given = [np.asarray(one.sample(20, seed=[1, 2])[0]) for _ in range(2)]
    np.testing.assert_array_equal(*given)


def test_draws_are_equal_in_all_modes():
    buffer = ReplayBuffer(50)
    feed(buffer, range(50))
    seed = tf.constant([5, 6])
    draws = [wrap(mode, buffer.sample)(32, seed)[0] for mode in MODES[1:]]
    np.testing.assert_array_equal(draws[0], draws[1])
    np.testing.assert_array_equal(draws[0], draws[2])
