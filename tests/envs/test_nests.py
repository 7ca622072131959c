"""Observations that are dictionaries, tuples, or several integers."""

import functools
import re

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2 import envs
from kerasrl2.envs._leaves import MalformedError
from kerasrl2.envs._spaces import codec, leaf_spaces, without_text
from kerasrl2.envs.core import observation_bytes
from kerasrl2.errors import EnvironmentFailure
from tests.envs.worlds import SEED, Spaces, play

TWO = spaces.Discrete(2)
BOX = spaces.Box(-1.0, 1.0, [3], np.float64)
GRAPH = spaces.Graph(BOX, None)
NESTED = spaces.Dict(
    {
        "zoom": spaces.Box(0.0, 1.0, []),
        "camera": spaces.Dict(left=spaces.Box(0, 255, [2, 2, 3], np.uint8), at=BOX),
        "inner": spaces.Tuple([spaces.Discrete(4, start=3), spaces.MultiBinary([2])]),
        "cards": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
    }
)


class Copies(gymnasium.Env):
    """Observes `at`, then its successors: a nest whose numbers tell (copy, time)."""

    action_space = TWO
    observation_space = spaces.Dict(
        place=spaces.Tuple([spaces.Box(0.0, 99.0, [2]), spaces.Discrete(99)]),
        cards=spaces.MultiDiscrete([99, 99]),
    )
    length = 3

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.copy = seed if seed is not None else self.copy + 1
        self.time = 0
        return self.show(), {}

    def step(self, action):
        self.time += 1
        return self.show(), 1.0, self.time == self.length, False, {}

    def show(self):
        place = np.float32([self.copy % 9, self.time]), self.time
        return {"place": place, "cards": np.array([self.copy % 9, self.time])}


def made(space, num_envs=2):
    return envs.GymnasiumEnvironment(functools.partial(Spaces, space, TWO), num_envs)


@pytest.mark.parametrize(
    ("space", "shape", "dtype"),
    [
        (spaces.MultiBinary(3), [2, 3], tf.int8),
        (spaces.MultiBinary([2, 2]), [2, 2, 2], tf.int8),
        (spaces.MultiDiscrete([2, 3], start=[0, 5]), [2, 2], tf.int32),
        (spaces.MultiDiscrete([[2, 3], [4, 1]]), [2, 2, 2], tf.int32),
    ],
    ids=str,
)
def test_several_integers(space, shape, dtype, mode):
    env = made(space)
    state, first = mode(env.reset)(SEED)
    _, after = mode(env.step)(state, tf.constant([0, 1]), SEED)
    for value in (first, after.observation, after.next_observation):
        assert (value.shape, value.dtype) == (shape, dtype)
    assert all(map(space.contains, first.numpy()))


@pytest.mark.parametrize("space", [NESTED, spaces.Tuple([NESTED, BOX])], ids=type)
def test_the_order_of_arrays_is_that_of_tensorflow(space):
    layout = codec(space, "observation")
    batch = layout.empty(2, 5)
    for mine, theirs in zip(layout.leaves(batch), tf.nest.flatten(batch), strict=True):
        assert mine is theirs
    tf.nest.assert_same_structure(layout.structure, batch)
    for half in layout.halves(batch):
        tf.nest.assert_same_structure(batch, half)


def test_a_nest_of_all_spaces(mode):
    env = made(NESTED)
    state, first = mode(env.reset)(SEED)
    for i, single in enumerate(env.envs):
        single.observation_space.seed(single.np_random_seed)
        sample = single.observation_space.sample()
        tf.nest.map_structure(
            np.testing.assert_allclose,
            tf.nest.map_structure(lambda x, i=i: x[i], first),
            sample,
        )
    step = mode(env.step)
    _, after = step(state, tf.constant([0, 1]), SEED)
    kinds = {
        "camera": {"at": ((2, 3), tf.float32), "left": ((2, 2, 2, 3), tf.uint8)},
        "cards": ((2, 2, 2), tf.int32),
        "inner": (((2,), tf.int32), ((2, 2), tf.int8)),
        "zoom": ((2,), tf.float32),
    }
    for value in (first, after.observation, after.next_observation):
        shown = tf.nest.map_structure(lambda x: (tuple(x.shape), x.dtype), value)
        assert shown == kinds


@pytest.mark.parametrize("jit_compile", [False, True])
def test_successors_and_starts_in_a_compiled_loop(jit_compile):
    env = envs.make(Copies, num_envs=2)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def loop(state):
        rows = []
        for _ in range(4):
            state, after = env.step(state, tf.constant([0, 1]), SEED)
            rows.append((after.observation, after.next_observation, after.terminated))
        return tf.nest.map_structure(lambda *values: tf.stack(values), *rows)

    with env.errors():
        state, first = env.reset(SEED)
        shown, following, terminated = loop(state)
    np.testing.assert_array_equal(terminated, np.repeat([[0], [0], [1], [0]], 2, 1))
    start = first["place"][0][:, 0].numpy()
    times = {"following": [1, 2, 3, 1], "shown": [1, 2, 0, 1]}
    copies = {"following": [0, 0, 0, 1], "shown": [0, 0, 1, 1]}
    for name, value in (("following", following), ("shown", shown)):
        where, time = value["place"]
        expected = np.stack([(start + more) % 9 for more in copies[name]])
        np.testing.assert_array_equal(where[..., 0], expected)
        np.testing.assert_array_equal(value["cards"][..., 0], expected)
        for array in (where[..., 1], time, value["cards"][..., 1]):
            np.testing.assert_array_equal(array, np.stack([times[name]] * 2, 1))


@pytest.mark.long
def test_other_processes_give_the_same_nests():
    here, there = (
        envs.make(Copies, num_envs=2, subprocess=subprocess)
        for subprocess in (False, True)
    )
    runs = [play(env, [[0, 1]] * 5) for env in (here, there)]
    there.close()
    tf.nest.map_structure(np.testing.assert_array_equal, *runs)


def test_returned_nests_do_not_change_later():
    env = envs.make(Copies)
    state, first = env.reset(SEED)
    before = tf.nest.map_structure(lambda tensor: tensor.numpy().copy(), first)
    env.step(state, tf.constant([0]), SEED)
    tf.nest.map_structure(np.testing.assert_array_equal, first, before)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Text(5), r"`observation_space` of type Box, Discrete"),
        (spaces.Dict(a=TWO, b=GRAPH), r'`observation_space\["b"\]` of type Box'),
        (spaces.Dict(a=spaces.Tuple([TWO, spaces.Text(3)])), r'space\["a"\]\[1\]` of'),
        (spaces.Tuple([spaces.Sequence(TWO)]), r"`observation_space\[0\]` of type"),
        (spaces.Dict(x=spaces.OneOf([TWO, BOX])), r'space\["x"\]` of type'),
        (spaces.Dict(), "at least one entry in `observation_space`"),
        (spaces.Tuple([]), "at least one entry in `observation_space`"),
        (
            spaces.Dict(a=spaces.Dict(), b=TWO),
            r'one entry in `observation_space\["a"\]',
        ),
        (spaces.Dict(a=spaces.Text(5)), "`observation_space` that is no text"),
        (spaces.Dict({1: TWO}), "strings as names in `observation_space`. Received: 1"),
        (spaces.Dict(a=spaces.Box(0, 1, [0])), r'space\["a"\]` to hold numbers'),
        (spaces.Discrete(2**40), "those of int32"),
        (spaces.MultiDiscrete([2, 3], start=[0, 2**31 - 2]), "those of int32"),
    ],
    ids=str,
)
def test_what_no_agent_can_observe_is_named(space, message):
    with pytest.raises(ValueError, match=message) as error:
        made(space)
    assert "Received: " in str(error.value)


WITH_TEXT = spaces.Dict(
    mission=spaces.Text(9), image=BOX, more=spaces.Dict(name=spaces.Text(2), at=TWO)
)


def test_texts_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="is left out") as caught:
        env = made(WITH_TEXT)
    named = [str(warning.message) for warning in caught]
    assert [
        f"`observation_space{name}`" in text
        for name, text in zip(('["mission"]', '["more"]["name"]'), named, strict=True)
    ] == [True, True]
    expected = spaces.Dict(image=BOX, more=spaces.Dict(at=TWO))
    assert env.observation_space == expected == without_text(WITH_TEXT)
    _, first = env.reset(SEED)
    assert {"image", "more"} == first.keys()
    assert first["more"].keys() == {"at"}


def test_a_space_of_texts_of_another_class_is_left_out():
    class Mission(spaces.Space):  # as in MiniGrid
        def __init__(self):
            super().__init__(dtype=str)

        def sample(self, mask=None, probability=None):
            return "get the red ball"

    with pytest.warns(UserWarning, match="mission"):
        env = made(spaces.Dict(mission=Mission(), image=BOX))
    assert env.observation_space == spaces.Dict(image=BOX)
    assert play(env, [[0, 1]])[0].keys() == {"image"}


class Spoilt(Copies):
    """Returns what `spoil` makes of its first observation after a step."""

    def __init__(self, spoil):
        self.spoil = spoil

    def step(self, action):
        observation, *rest = super().step(action)
        return self.spoil(observation), *rest


def without(name):
    return lambda value: {key: value[key] for key in value if key != name}


def at(*keys, new):
    def spoil(value):
        *outer, last = keys
        part = functools.reduce(lambda nest, key: nest[key], outer, value)
        if isinstance(part, tuple):
            part = tuple(new if i == last else x for i, x in enumerate(part))
            return value | {outer[0]: part}
        part[last] = new
        return value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("cards"), "with 'cards', 'place'. Received: one without 'cards'"),
        (lambda value: value | {"x": 0}, "Received: one that also has 'x'"),
        (lambda value: value["place"], "a dictionary with .* Received: tuple"),
        (at("place", new=(1,)), r'observation\["place"\]: Expected a tuple of 2'),
        (at("place", new=3), r'observation\["place"\]: .* Received: int'),
        (
            at("place", 0, new=np.zeros(3, np.float32)),
            r'observation\["place"\]\[0\]: .* shape \(2,\) .* Received: shape \(3,\)',
        ),
        (at("place", 0, new=[[1], 2]), r'\["place"\]\[0\]: Expected an array. Rec'),
        (at("place", 1, new=99), r'\["place"\]\[1\]: Expected an integer in \[0, 98\]'),
        (at("cards", new=np.array([0, 99])), r'\["cards"\]: Expected integers in'),
        (at("cards", new=np.array([0.0, 1.0])), r'\["cards"\]: Expected integers'),
    ],
)
def test_a_wrong_observation_names_its_entry(spoil, message):
    env = envs.make(functools.partial(Spoilt, spoil), num_envs=2)
    with pytest.raises(EnvironmentFailure, match=message):
        play(env, [[0, 0]])


@pytest.mark.parametrize("space", [NESTED, BOX, spaces.MultiBinary(3)], ids=type)
def test_observations_of_all_at_once(space):
    space.seed(3)
    singles = [space.sample() for _ in range(4)]
    layout = codec(space, "observation")
    one_by_one, at_once = layout.empty(4), layout.empty(4)
    for i, single in enumerate(singles):
        layout.put(one_by_one, i, single)
    batch = gymnasium.vector.utils.create_empty_array(space, 4)
    layout.put_all(at_once, gymnasium.vector.utils.concatenate(space, singles, batch))
    tf.nest.map_structure(np.testing.assert_array_equal, one_by_one, at_once)


@pytest.mark.parametrize(
    ("space", "values", "message"),
    [
        (BOX, np.zeros([3, 3]), r"of shape \(2, 3\) .* Received: shape \(3, 3\)"),
        (TWO, np.array([0, 5]), r"integer in \[0, 1\]. Received: .*5"),
        (TWO, np.array([0.0, 1.0]), "Expected an integer"),
        (TWO, np.array([[0], [1]]), r"of shape \(2,\).* Received: shape \(2, 1\)"),
        (spaces.MultiBinary(1), np.array([[0], [2]]), "Expected integers in Multi"),
        (spaces.Dict(a=TWO), {"a": np.array([0, 3])}, r'observation\["a"\]: Expected'),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_observations_of_all_at_once(space, values, message):
    layout = codec(space, "observation")
    with pytest.raises(MalformedError, match=message):
        layout.put_all(layout.empty(2), values)


def test_bytes_of_a_nest():
    space = spaces.Dict(
        a=spaces.Box(0, 255, [4, 4], np.uint8), b=spaces.Tuple([TWO, BOX])
    )
    assert observation_bytes(space) == 16 + 8 + 3 * 8


class Pairs(envs.TensorFlowEnvironment):
    """`Copies` in TensorFlow, or nearly: `spoil` changes its observations."""

    def __init__(self, num_envs=2, spoil=lambda value: value):
        self.spoil = spoil
        super().__init__("Pairs", num_envs, Copies.observation_space, TWO, 3)

    def initial(self, seed, n):
        return tf.zeros([n], tf.int32)

    def transition(self, physics, action):
        left = tf.ones([self.num_envs])
        return physics + 1, left, tf.zeros([self.num_envs], tf.bool)

    def observe(self, physics):
        zero = tf.zeros_like(physics)
        place = tf.cast(tf.stack([zero, physics], 1), tf.float32), physics
        return self.spoil({"place": place, "cards": tf.stack([zero, physics], 1)})


def test_an_environment_in_tensorflow_observes_nests():
    env = Pairs()
    _, after = play(env, [[0, 1]] * 3, functools.partial(tf.function, jit_compile=True))
    assert after.next_observation["place"][1][:, 0].tolist() == [1, 2, 3]
    assert after.observation["cards"][:, 1].tolist() == [[0, 1], [0, 2], [0, 0]]
    assert envs.check(env, steps=30) == []


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (without("cards"), r"the first observation has shapes .*; its space says"),
        (at("place", 1, new=tf.zeros([2])), r'\["place"\]\[1\] has .* float32; its'),
        (
            at("place", 0, new=tf.constant([[0.0, np.nan]] * 2)),
            r'next_observation\["place"\]\[0\]` holds nan|`observation.* holds nan',
        ),
    ],
)
def test_checks_of_nests_in_tensorflow(spoil, what):
    found = envs.check(Pairs(spoil=spoil), steps=5)[0]
    assert found.severity == "error"
    assert re.search(what, found.what)


def test_checks_of_nests_in_gymnasium():
    assert envs.check(functools.partial(Copies), steps=30) == []
    spoil = at("place", 0, new=np.float32([np.nan, 0]))
    (found,) = (
        f for f in envs.check(functools.partial(Spoilt, spoil), steps=30)
        if f.severity == "error"
    )  # fmt: skip
    assert found.what == 'the observation["place"][0] holds nan'
    spoil = at("place", 0, new=np.zeros(2))
    found = envs.check(functools.partial(Spoilt, spoil), steps=30)
    assert any('the observation["place"][0] has dtype float64' in f.what for f in found)


def test_the_checker_notes_texts():
    found = envs.check(lambda: Spaces(WITH_TEXT, TWO), steps=5)
    notes = [f.what for f in found if f.severity == "note"]
    assert any('`observation_space["mission"]` is left out' in note for note in notes)


def test_leaves_of_a_space():
    keys = [keys for keys, _ in leaf_spaces(WITH_TEXT)]
    assert keys == [("image",), ("more", "at")]
    assert leaf_spaces(BOX) == [((), BOX)]
