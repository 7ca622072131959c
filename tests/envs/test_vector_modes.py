"""What is stepped as a batch gives the transitions of its environments."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from kerasrl2 import envs
from kerasrl2.envs._leaves import MalformedError
from kerasrl2.envs._spaces import codec
from tests.envs.vectors import (
    LENGTHS,
    MODES,
    assert_equal,
    by_hand,
    counting,
    expected_of_counting,
    seed_of,
    transitions,
)
from tests.envs.worlds import SEED, play

NEXT, SAME = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP


@pytest.mark.parametrize("autoreset", MODES, ids=str)
@pytest.mark.parametrize("space", [None, "Dict"])
def test_transitions_are_those_of_the_environments(autoreset, space):
    env = envs.make(counting(autoreset, space=space))
    found, valid = transitions(env, np.zeros([11, 3], np.int32))
    expected = [expected_of_counting(i, len(found[i])) for i in range(3)]
    if space == "Dict":
        found = [[unpacked(t) for t in of_one] for of_one in found]
    assert_equal(found, expected)
    rows = [11 - 11 // (length + 1) for length in LENGTHS]  # one a pause, next-step
    assert valid.sum(0).tolist() == (rows if autoreset is NEXT else [11] * 3)
    assert env.always_valid == (autoreset is not NEXT)


def unpacked(transition):
    for name in ("observation", "following"):
        value = getattr(transition, name)
        assert value["time"] == value["at"][1]
        transition = transition._replace(**{name: value["at"]})
    return transition


def xla(method):
    """A step compiled by XLA; `reset` cannot be."""
    compiled = method.__name__ == "step"
    return tf.function(method, jit_compile=compiled, autograph=False)


@pytest.mark.parametrize("autoreset", MODES, ids=str)
def test_programs_of_xla_get_the_same(autoreset):
    actions = np.zeros([7, 3], np.int32)
    runs = [
        play(envs.make(counting(autoreset)), actions, compiled)
        for compiled in (tf.function, xla)
    ]
    tf.nest.map_structure(np.testing.assert_array_equal, *runs)


class PaysTheAction(gymnasium.Env):
    """Observes the time."""

    observation_space = action_space = spaces.Discrete(9)

    def __init__(self, length):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return 0, {}

    def step(self, action):
        self.time += 1
        return self.time, float(action), self.time == self.length, False, {}


def test_golden_values_of_next_step_autoreset():
    vector = SyncVectorEnv([lambda n=n: PaysTheAction(n) for n in LENGTHS])
    _, result = play(envs.make(vector), np.int32([[1, 2, 3]] * 4))
    observed = [[1, 1, 1], [2, 2, 2], [0, 3, 3], [1, 0, 0]]
    np.testing.assert_array_equal(result.observation, observed)
    np.testing.assert_array_equal(result.next_observation, observed)
    rewards = [[1, 2, 3], [1, 2, 3], [0, 2, 3], [1, 0, 0]]
    np.testing.assert_array_equal(result.reward, rewards)
    ends = [[0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]]
    np.testing.assert_array_equal(result.terminated, ends)
    valid = [[1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 0, 0]]
    np.testing.assert_array_equal(result.valid, valid)
    assert result.valid.sum() == 9


class Impolite(SyncVectorEnv):
    """Pays and ends in the row of an autoreset, too, which is not its to do."""

    def step(self, actions):
        pausing = self._autoreset_envs.copy()
        observation, reward, terminated, truncated, info = super().step(actions)
        reward[pausing], terminated[pausing] = 99.0, True
        return observation, reward, terminated, truncated, info


def test_a_pause_pays_nothing_and_ends_nothing():
    env = envs.make(counting(NEXT, Impolite))
    found, _ = transitions(env, np.zeros([11, 3], np.int32))
    assert_equal(found, [expected_of_counting(i, len(found[i])) for i in range(3)])
    _, result = play(env, np.zeros([11, 3], np.int32))
    for value in (result.reward, result.terminated, result.truncated):
        assert not value[~result.valid].any()


@pytest.mark.parametrize("limit", [500, 7])
def test_a_vectorised_environment_of_its_own_kind(limit):
    mine, peer = (CartPoleVectorEnv(4, max_episode_steps=limit) for _ in range(2))
    env = envs.make(mine)
    assert (env.id, env.num_envs) == ("CartPoleVectorEnv", 4)
    assert (env.always_valid, env.max_episode_steps) == (False, limit)
    actions = np.random.default_rng(0).integers(2, size=[60, 4])
    found, valid = transitions(env, actions.astype(np.int32))
    assert_equal(found, by_hand(peer, actions, {"seed": seed_of(env)}))
    assert (~valid).sum() >= 4


def test_equal_seeds_give_equal_runs():
    env = envs.make(gymnasium.make_vec("CartPole-v1", 3, "sync"))
    actions = np.ones([20, 3], np.int32)
    runs = [play(env, actions, seed=tf.constant(s)) for s in ([0, 1], [0, 1], [1, 0])]
    tf.nest.map_structure(np.testing.assert_array_equal, *runs[:2])
    assert (runs[0][0] != runs[2][0]).all()
    assert len(np.unique(runs[0][0])) == 12  # each environment has its own


def test_returned_values_do_not_change_later():
    actions = np.zeros([6, 3], np.int32)
    _, expected = play(envs.make(counting(SAME)), actions)
    env = envs.make(counting(SAME, copy=False))
    state, _ = env.reset(SEED)
    kept = []
    for action in actions:
        state, after = env.step(state, tf.constant(action), SEED)
        kept.append(after)
    stacked = tf.nest.map_structure(lambda *values: np.stack(values), *kept)
    tf.nest.map_structure(np.testing.assert_array_equal, stacked, expected)


@pytest.mark.parametrize("autoreset", MODES, ids=str)
def test_info_is_that_of_the_last_step(autoreset):
    env = envs.make(counting(autoreset))
    env.record_info(("told", "only"))
    play(env, np.zeros([8, 3], np.int32))
    finished = env.finished_info()
    assert env.finished_info() == []
    for index, length in enumerate(LENGTHS):
        of_one = [(episode, told) for i, episode, told in finished if i == index]
        last = [[10.0 * e + length, float(length)] for e in range(len(of_one))]
        assert of_one == list(enumerate(last))
        assert len(of_one) >= 2


@pytest.mark.parametrize("autoreset", MODES, ids=str)
def test_episodes_are_counted_before_anything_is_kept_of_them(autoreset):
    """Those of before `record_info`, by a twin that kept from the beginning."""
    finished = []
    for begins in (0, 8):
        env = envs.make(counting(autoreset))
        state, _ = env.reset(SEED)
        for step in range(16):
            if step in {0: (0, 8), 8: (8,)}[begins]:
                env.record_info(("told",))
            state, _ = env.step(state, tf.zeros([3], tf.int32), SEED)
        finished.append(env.finished_info())
    assert finished[0] == finished[1]
    assert min(number for _, number, _ in finished[1]) >= 1


@pytest.mark.parametrize("count", [1, 32, 33, 100])
def test_an_action_of_many_that_is_not_there_is_found(count):
    of = codec(spaces.Discrete(3, start=1), "action")
    actions = np.full([count], 1, np.int32)
    for index, action in ((0, 3), (-1, 2)):
        actions[index] = action
    np.testing.assert_array_equal(of.take(actions), actions)
    assert of.take(actions).dtype == np.int64
    for wrong in (0, 4):
        actions[-1] = wrong
        with pytest.raises(MalformedError, match=r"in \[1, 3\]"):
            of.take(actions)


def test_actions_reach_the_environments():
    received = []

    class Listens(PaysTheAction):
        action_space = spaces.MultiDiscrete([3, 4])

        def step(self, action):
            received.append((action.dtype, action.tolist()))
            return super().step(0)

    env = envs.make(SyncVectorEnv([lambda: Listens(5)] * 2))
    play(env, np.int32([[[1, 2], [0, 3]]]))
    assert received == [(np.int64, [1, 2]), (np.int64, [0, 3])]


def test_names_and_limits():
    wrapped = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        gymnasium.make_vec("CartPole-v1", 2, "sync")
    )
    env = envs.make(wrapped)
    assert (env.id, env.envs, env.max_episode_steps) == ("CartPole-v1", (wrapped,), 500)
    one = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1", max_episode_steps=9)])
    assert (envs.make(one).id, envs.make(one).max_episode_steps) == ("CartPole-v1", 9)
    assert envs.make(counting(NEXT)).id == "SyncVectorEnv"
