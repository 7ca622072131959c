"""Tests of how an environment with two users is found out."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.envs import GymnasiumEnvironment, make
from kerasrl2.envs._moves import Moves
from tests.envs.worlds import SEED, ThreeSteps

ACTION = tf.constant([1])


class Slotted(ThreeSteps):
    """A class nobody can derive from: its environments are counted by nobody."""

    def __init_subclass__(cls):
        raise TypeError("final")


def test_counts_calls_of_anyone():
    world = ThreeSteps()
    moves = Moves([gymnasium.wrappers.TimeLimit(world, 9)])
    assert not moves.by_others()
    for call in (
        lambda: world.reset(seed=1),
        lambda: world.step(0),
        lambda: gymnasium.wrappers.OrderEnforcing(world).reset(),
    ):
        call()
        assert moves.by_others()
        moves.take_note()
        assert not moves.by_others()


def test_the_environment_stays_what_it_was():
    world = ThreeSteps()
    Moves([world])
    Moves([world])
    assert isinstance(world, ThreeSteps)
    assert type(world).__name__ == "ThreeSteps"
    assert type(world).__mro__[1] is ThreeSteps
    assert type(ThreeSteps()) is ThreeSteps  # the class itself is not changed
    another = ThreeSteps()
    Moves([another])
    assert type(another) is type(world)
    assert world.reset(seed=0)[0].tolist() == another.reset(seed=0)[0].tolist()


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda world: pickle.loads(pickle.dumps(world))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_is_another_environment(copied):
    world = ThreeSteps()
    world.reset(seed=0)
    moves = Moves([world])
    twin = copied(world)
    twin.step(1)
    assert type(twin) is ThreeSteps
    assert (twin.time, world.time) == (1, 0)
    assert not moves.by_others()


def test_what_cannot_be_counted_works_all_the_same():
    env = GymnasiumEnvironment(Slotted())
    state, _ = env.reset(SEED)
    assert type(env.envs[0]) is Slotted
    _, after = env.step(state, ACTION, SEED)
    np.testing.assert_array_equal(after.reward, [1.0])


@pytest.mark.parametrize(
    "move",
    [
        lambda world: world.reset(),
        lambda world: world.step(0),
        lambda world: make(world).reset(SEED),
        lambda world: make(gymnasium.wrappers.TimeLimit(world, 5)).reset(SEED),
    ],
    ids=["reset", "step", "another environment", "another wrapper"],
)
def test_a_moved_environment_is_not_stepped_on(move, mode):
    world = ThreeSteps()
    env = make(world)
    state, _ = env.reset(SEED)
    state, _ = env.step(state, ACTION, SEED)
    assert env.is_current(state)
    move(world)
    assert not env.is_current(state)
    with pytest.raises(RuntimeError, match="an environment each"), env.errors():
        mode(env.step)(state, ACTION, SEED)
    state, _ = env.reset(SEED)
    assert env.is_current(state)
    env.step(state, ACTION, SEED)


def test_who_shares_copies_with_whom():
    world = ThreeSteps()
    env, same = make(world), make(gymnasium.wrappers.TimeLimit(world, 5))
    other, graph = make(ThreeSteps, num_envs=2), make("CartPole-v1")
    assert env.shares_copies_with(env)
    assert env.shares_copies_with(same)
    assert same.shares_copies_with(env)
    assert not env.shares_copies_with(other)
    assert not env.shares_copies_with(graph)
    assert not graph.shares_copies_with(graph)  # its state is not in it
    assert not graph.shares_copies_with(env)


def test_two_wrappers_of_one_environment_are_one():
    world = ThreeSteps()
    with pytest.raises(ValueError, match="the same one twice"):
        make(lambda: gymnasium.wrappers.TimeLimit(world, 5), num_envs=2)
