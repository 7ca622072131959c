"""Data that workers generate: repeatable, different, complete."""

import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.distributed import Workers, collect
from tests.distributed.worlds import World


@pytest.fixture(scope="module")
def agent():
    return krl.agents.A2C.for_env("CartPole-v1", hidden=(8,), seed=0, xla=False)


def test_streams_differ_and_repeat(local, agent):
    data, again = (
        collect(agent, "CartPole-v1", 240, Workers(3, block=20), num_envs=2, seed=4)
        for _ in range(2)
    )
    assert data.reward.shape == (40, 6)
    assert data.observation.shape == (40, 6, 4)
    for name in ("observation", "action", "reward", "terminated", "next_observation"):
        np.testing.assert_array_equal(getattr(data, name), getattr(again, name))
    firsts = {tuple(row) for row in data.observation[0]}
    assert len(firsts) == 6  # each environment begins in a state of its own
    ended = data.terminated | data.truncated
    following = data.observation[1:][~ended[:-1]]
    np.testing.assert_array_equal(following, data.next_observation[:-1][~ended[:-1]])


@pytest.mark.long
def test_another_seed_gives_others(local, agent):
    one, other = (
        collect(agent, "CartPole-v1", 20, 1, seed=seed, greedy=True) for seed in (0, 1)
    )
    assert (one.observation[0] != other.observation[0]).any()


@pytest.mark.long
def test_files_hold_the_same(local, agent, tmp_path):
    kept = collect(agent, "CartPole-v1", 240, Workers(3, block=20), num_envs=2, seed=4)
    paths = collect(
        agent, "CartPole-v1", 240, Workers(3, block=20), num_envs=2, seed=4,
        path=tmp_path / "data",
    )  # fmt: skip
    assert len(paths) == 6
    with np.load(paths[1], allow_pickle=False) as file:
        np.testing.assert_array_equal(file["reward"], kept.reward[20:, :2])
        np.testing.assert_array_equal(file["observation"], kept.observation[20:, :2])
    with pytest.raises(ValueError, match="empty or not there"):
        collect(agent, "CartPole-v1", 10, 1, path=tmp_path / "data")
    assert all(pool.closed for pool in local)


def test_an_exception_reaches_the_caller(local):
    make = lambda: World(fails_at=7)  # noqa: E731
    agent = krl.agents.A2C.for_env(World, hidden=(8,), seed=0, xla=False)
    with pytest.raises(krl.errors.EnvironmentFailure, match="locked"):
        collect(agent, make, 100, 2)
    assert local[-1].closed
