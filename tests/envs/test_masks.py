"""Masks of actions in `info` are seen in observations."""

import functools

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from kerasrl2 import envs
from kerasrl2.errors import EnvironmentFailure
from tests.envs.vectors import MODES
from tests.envs.worlds import SEED, play

BOX = spaces.Box(0.0, 99.0, [1])
SEVERAL = spaces.MultiDiscrete([2, 3])


class Legal(gymnasium.Env):
    """Counts to 3; action `time` alone is legal, and others raise.

    Args:
        ends: Pair, whether the last step terminates and whether it truncates.
        space: Observation space: a `Box`, a `Dict` with one, or one with a mask, too.
        spoil: Callable of (mask, time), what `info` says instead of the mask; None
            leaves it out.
    """

    action_space = spaces.Discrete(4)

    def __init__(self, ends=(True, False), space=BOX, spoil=lambda mask, time: mask):
        self.ends, self.observation_space, self.spoil = ends, space, spoil

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.result()

    def step(self, action):
        if action != self.time:
            raise RuntimeError(f"illegal action {action} at {self.time}")
        self.time += 1
        over = self.time == 3
        observation, info = self.result()
        return observation, 1.0, *(over and end for end in self.ends), info

    def result(self):
        mask = self.spoil(np.eye(4, dtype=np.int8)[self.time], self.time)
        observation, info = np.float32([self.time]), {"action_mask": mask}
        if mask is None:
            info = {}
        if self.observation_space is not BOX:
            observation = {"at": observation}
            if "action_mask" in self.observation_space.spaces:
                observation |= info
                info = {}
        return observation, info


IN_DICT = spaces.Dict(at=BOX)
WITH_MASK = spaces.Dict(at=BOX, action_mask=spaces.MultiBinary(4))


@pytest.mark.parametrize("space", [BOX, IN_DICT, WITH_MASK], ids=range(3))
def test_a_mask_is_an_entry_of_observations(space, mode):
    env = envs.make(functools.partial(Legal, space=space), num_envs=2)
    name = "observation" if space is BOX else "at"
    expected = spaces.Dict({name: BOX, "action_mask": spaces.MultiBinary(4)})
    assert env.observation_space == expected
    first, result = play(env, [[0, 0], [1, 1], [2, 2], [0, 0]], mode)
    assert first["action_mask"].dtype == np.int8
    np.testing.assert_array_equal(first["action_mask"], np.eye(4)[[0, 0]])
    np.testing.assert_array_equal(result.observation[name][:, 0, 0], [1, 2, 0, 1])
    masks = np.argmax(result.observation["action_mask"][:, 0], -1)
    np.testing.assert_array_equal(masks, [1, 2, 0, 1])
    last = result.next_observation["action_mask"][2, 0]
    np.testing.assert_array_equal(last, [0, 0, 0, 1])


@pytest.mark.long
def test_other_processes_tell_the_same():
    runs = []
    for subprocess in (False, True):
        env = envs.make(Legal, num_envs=2, subprocess=subprocess)
        runs.append(play(env, [[0, 0], [1, 1], [2, 2], [0, 0]]))
        env.close()
    tf.nest.map_structure(np.testing.assert_array_equal, *runs)


def ends_without(mask, time):
    return None if time == 3 else mask


def ends_with_none_legal(mask, time):
    return mask * 0 if time == 3 else mask


@pytest.mark.parametrize("spoil", [ends_without, ends_with_none_legal])
@pytest.mark.parametrize("autoreset", [None, *MODES], ids=str)
def test_after_a_termination_everything_is_legal(spoil, autoreset):
    make = functools.partial(Legal, spoil=spoil)
    env = envs.make(make)
    if autoreset is not None:
        env = envs.make(SyncVectorEnv([make], autoreset_mode=autoreset))
    state, seen = env.reset(SEED)
    masks = []
    for _ in range(9):
        action = tf.argmax(seen["action_mask"], 1, tf.int32)
        with env.errors():
            state, after = env.step(state, action, SEED)
        seen = after.observation
        if bool(after.valid[0]):
            masks.append(after.next_observation["action_mask"][0].numpy().tolist())
    eye = np.eye(4, dtype=int).tolist()
    expected = [eye[1], eye[2], [1] * 4] * 3
    assert masks == expected[: len(masks)]
    assert len(masks) >= 7


@pytest.mark.parametrize("autoreset", MODES, ids=str)
@pytest.mark.parametrize("space", [BOX, WITH_MASK], ids=["info", "entry"])
@pytest.mark.parametrize(
    "cls", [SyncVectorEnv, pytest.param(AsyncVectorEnv, marks=pytest.mark.long)]
)
def test_masks_of_vector_environments(autoreset, space, cls):
    made = [lambda e=e: Legal((e, not e), space) for e in (True, False)]
    env = envs.make(cls(made, autoreset_mode=autoreset))
    state, seen = env.reset(SEED)
    times, lasts = [], []
    name = "observation" if space is BOX else "at"
    for _ in range(8):
        action = tf.argmax(seen["action_mask"], 1, tf.int32)
        with env.errors():
            state, after = env.step(state, action, SEED)
        for i in np.flatnonzero(after.valid):
            of_one = tf.nest.map_structure(lambda x, i=i: x[i], after.next_observation)
            times.append(int(of_one[name][0]))
            lasts.append(int(np.argmax(of_one["action_mask"])))
            assert int(tf.reduce_sum(tf.cast(of_one["action_mask"], tf.int32))) == 1
        seen = after.observation
    assert times == lasts
    assert {1, 2, 3} == set(times)
    env.close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda mask, time: mask[:3], r"as 4 zeros and ones.*Received: array\(\[0"),
        (lambda mask, time: 2 * mask, "as 4 zeros and ones"),
        (lambda mask, time: mask.astype(float), "as 4 zeros and ones"),
        (lambda mask, time: None, "as 4 zeros and ones.* Received: None"),
        (lambda mask, time: 0 * mask, r"a legal action .* Received: \[0, 0, 0, 0\]"),
    ],
    ids=range(5),
)
@pytest.mark.parametrize("batched", [False, True])
def test_wrong_masks_are_named(spoil, message, batched):
    spoilt = lambda mask, time: spoil(mask, time) if time == 2 else mask  # noqa: E731
    make = functools.partial(Legal, spoil=spoilt)
    env = envs.make(SyncVectorEnv([make, make]) if batched else make)
    actions = np.int32([[0], [1]]).repeat(env.num_envs, 1)
    with pytest.raises(EnvironmentFailure, match=message) as error:
        play(env, actions)
    assert "step 2" in str(error.value)
    assert "environment 0" in str(error.value)


def test_after_a_truncation_a_mask_is_needed():
    env = envs.make(functools.partial(Legal, (False, True), spoil=ends_without))
    with pytest.raises(EnvironmentFailure, match="zeros and ones"):
        play(env, [[0], [1], [2]])


class Joined(gymnasium.Env):
    """Two components; their masks are a tuple or one array."""

    observation_space, action_space = BOX, SEVERAL

    def __init__(self, mask):
        self.mask = mask

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {"action_mask": self.mask}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {"action_mask": self.mask}


@pytest.mark.parametrize(
    "mask",
    [
        np.array([True, False, False, True, True]),
        (np.int8([1, 0]), np.int8([0, 1, 1])),
        np.int8([1, 0, 0, 1, 1]),
    ],
    ids=["Booleans", "tuple", "array"],
)
@pytest.mark.parametrize("batched", [False, True])
def test_masks_of_several_integers(mask, batched):
    make = functools.partial(Joined, mask)
    env = envs.make(SyncVectorEnv([make, make]) if batched else make)
    assert env.observation_space["action_mask"] == spaces.MultiBinary(5)
    first, result = play(env, np.int32([[[0, 1]] * env.num_envs]))
    for value in (first, tf.nest.map_structure(lambda x: x[0], result.observation)):
        np.testing.assert_array_equal(value["action_mask"][0], [1, 0, 0, 1, 1])


def test_each_component_needs_a_legal_action():
    env = envs.make(functools.partial(Joined, np.int8([1, 1, 0, 0, 0])))
    with pytest.raises(EnvironmentFailure, match=r"`reset` .* a legal action"):
        env.reset(SEED)


def test_who_has_none_is_not_changed():
    for id in ("CartPole-v1", "Pendulum-v1"):
        space = envs.make(id, backend="gymnasium").observation_space
        assert isinstance(space, spaces.Box)


def test_taxi_has_masks():
    env = envs.make("Taxi-v4", num_envs=2)
    expected = {"observation": spaces.Discrete(500)}
    expected["action_mask"] = spaces.MultiBinary(6)
    assert env.observation_space == spaces.Dict(expected)
    first, _ = play(env, [[0, 0]])
    for row, single in enumerate(env.envs):
        single.reset(seed=single.unwrapped.np_random_seed)
        mask = single.unwrapped.action_mask(int(first["observation"][row]))
        np.testing.assert_array_equal(first["action_mask"][row], mask)


@pytest.mark.parametrize("space", [BOX, WITH_MASK], ids=["info", "entry"])
def test_the_checker_plays_legal_actions(space):
    make = functools.partial(Legal, space=space)
    assert envs.check(make, steps=30) == []
    assert envs.check(SyncVectorEnv([make]), steps=30) == []


def test_the_checker_tells_of_wrong_masks():
    def spoil(mask, time):
        return mask * (time < 2)

    (found,) = envs.check(functools.partial(Legal, spoil=spoil), steps=30)
    assert "Expected a legal action in each state" in found.what
    assert found.where == "step 2, action 1"


class Alternates(envs.TensorFlowEnvironment):
    """Only the action that equals the parity of the time is legal."""

    def __init__(self, num_envs=2):
        space = spaces.Dict(at=BOX, action_mask=spaces.MultiBinary(2))
        super().__init__("Alternates", num_envs, space, spaces.Discrete(2), 5)

    def initial(self, seed, n):
        return tf.zeros([n], tf.int32), tf.zeros([n], tf.bool)

    def transition(self, physics, action):
        time, crashed = physics
        crashed |= action != time % 2
        reward = tf.where(crashed, -2e6, 1.0)  # which the checker calls huge
        return (time + 1, crashed), reward, tf.zeros_like(crashed)

    def observe(self, physics):
        mask = tf.one_hot(physics[0] % 2, 2, dtype=tf.int8)
        return {"at": tf.cast(physics[0], tf.float32)[:, None], "action_mask": mask}


def test_an_environment_in_tensorflow_has_the_entry_itself():
    assert envs.check(Alternates(), steps=30) == []
    space = Alternates().observation_space
    assert space["action_mask"] == spaces.MultiBinary(2)
