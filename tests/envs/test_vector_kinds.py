"""Vector environments of other makers, against their own interface."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from kerasrl2 import envs
from kerasrl2.errors import EnvironmentFailure
from tests.envs.vectors import (
    MODES,
    assert_equal,
    by_hand,
    counting,
    expected_of_counting,
    seed_of,
    transitions,
)
from tests.envs.worlds import play

pytestmark = pytest.mark.long


@pytest.mark.parametrize("autoreset", MODES, ids=str)
def test_processes_of_gymnasium(autoreset):
    env = envs.make(counting(autoreset, AsyncVectorEnv))
    found, _ = transitions(env, np.zeros([11, 3], np.int32))
    assert_equal(found, [expected_of_counting(i, len(found[i])) for i in range(3)])
    env.close()
    with pytest.raises(RuntimeError, match="is closed"), env.errors():
        env.reset(np.int32([0, 1]))


@pytest.mark.filterwarnings(
    "ignore:.*from Worker", "ignore:.*the last", "ignore:.*pending"
)
def test_a_process_that_fails():
    def make():
        env = gymnasium.make("CartPole-v1")
        env.unwrapped.step = lambda action: 1 / 0
        return env

    env = envs.make(AsyncVectorEnv([make, make]))
    with pytest.raises(EnvironmentFailure, match=r"`step` of .* division by zero"):
        play(env, [[0, 0]])
    env.close()


def actions_of(space, steps, num_envs):
    space.seed(0)
    rows = [[space.sample() for _ in range(num_envs)] for _ in range(steps)]
    kind = np.int64 if np.issubdtype(space.dtype, np.integer) else np.float32
    return np.array(rows, kind)


@pytest.mark.parametrize("vectorization", ["sync", "async", "vector_entry_point"])
def test_what_gymnasium_makes(vectorization):
    def make():
        return gymnasium.make_vec("CartPole-v1", 3, vectorization)

    env, peer = envs.make(make), make()
    actions = actions_of(env.action_space, 80, 3)
    found, valid = transitions(env, actions.astype(np.int32))
    assert_equal(found, by_hand(peer, actions, {"seed": seed_of(env)}))
    assert not valid.all()
    env.close()
    peer.close()


def test_processes_by_id():
    env = envs.make("CartPole-v1", 2, vectorization="async")
    assert (env.num_envs, env.always_valid) == (2, True)
    play(env, np.zeros([30, 2], np.int32))
    env.close()


@pytest.mark.parametrize(
    ("id", "settings"),
    [
        ("CartPole-v1", {}),
        ("CartPole-v1", {"max_episode_steps": 9}),
        ("Pendulum-v1", {"max_episode_steps": 20}),
        ("FrozenLake-v1", {}),
        ("Blackjack-v1", {}),
        ("Catch-v0", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*precision lowered")
def test_envpool(id, settings):
    envpool = pytest.importorskip("envpool")

    def make():
        return envpool.make(id, "gymnasium", num_envs=4, seed=7, **settings)

    env, peer = envs.make(make), make()
    if isinstance(env.action_space, spaces.Discrete):
        peer.reset()  # as `envs.make` does, to look for action masks
    limit = settings.get("max_episode_steps")
    assert (env.num_envs, env.always_valid) == (4, False)
    assert limit is None or env.max_episode_steps == limit
    actions = actions_of(env.action_space, 60, 4)
    native = np.int32 if actions.dtype == np.int64 else np.float32
    found, valid = transitions(env, actions.astype(native))
    assert_equal(found, by_hand(peer, actions.astype(native), {}))
    assert not valid.all()
    cut = [t.truncated for of_one in found for t in of_one]
    assert any(cut) == (limit is not None)
    env.close()


@pytest.mark.filterwarnings("ignore:.*precision lowered")
def test_the_time_of_envpool_counts_transitions():
    envpool = pytest.importorskip("envpool")
    env = envs.make(envpool.make("CartPole-v1", "gymnasium", num_envs=3, seed=1))
    env.record_info(("elapsed_step",))
    found, _ = transitions(env, np.ones([40, 3], np.int32))
    lengths = {}
    for i, of_one in enumerate(found):
        ends = [n + 1 for n, t in enumerate(of_one) if t.terminated]
        lengths[i] = np.diff([0, *ends]).tolist()
    told = {i: [] for i in range(3)}
    for i, _, (steps,) in env.finished_info():
        told[i].append(steps)
    assert told == lengths
    assert min(map(len, told.values())) > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 4, "batch_size": 2}, "all 4 environments at a time"),
        ({"num_envs": 2, "max_num_players": 2}, "of one player each"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*precision lowered")
def test_envpools_that_are_refused(settings, message):
    envpool = pytest.importorskip("envpool")
    with pytest.raises(ValueError, match=message):
        envs.make(envpool.make("CartPole-v1", "gymnasium", **settings))


@pytest.mark.parametrize("autoreset", MODES[:2], ids=str)
def test_games_of_ale(autoreset):
    vector = pytest.importorskip("ale_py.vector_env").AtariVectorEnv

    def make():
        return vector(
            "breakout", 2, autoreset_mode=autoreset, stack_num=2,
            max_num_frames_per_episode=400,
        )  # fmt: skip

    env, peer = envs.make(make), make()
    assert env.observation_space == spaces.Box(0, 255, [2, 84, 84], np.uint8)
    actions = actions_of(env.action_space, 150, 2)
    found, valid = transitions(env, actions.astype(np.int32))
    assert_equal(found, by_hand(peer, actions, {"seed": seed_of(env)}))
    ends = sum(t.terminated or t.truncated for of_one in found for t in of_one)
    assert ends >= 2
    assert valid.all() == (autoreset is AutoresetMode.SAME_STEP)
    env.close()
