"""Saving what a buffer is, without what it holds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import PrioritizedReplayBuffer, ReplayBuffer
from tests.buffers.test_replay import feed

STORAGE = {
    "capacity": 12, "num_envs": 2, "n_step": 3, "gamma": 0.9, "frame_stack": 4,
    "episode_length": 5, "seed": 7,
}  # fmt: skip
PRIORITIES = {
    "prioritization": "rank", "alpha": 0.7, "beta": 0.5, "beta_steps": 9,
    "epsilon": 0.5, "normalization": "buffer", "stratified": False, "sort_every": 3,
}  # fmt: skip
CASES = [(ReplayBuffer, STORAGE), (PrioritizedReplayBuffer, STORAGE | PRIORITIES)]


def copy_of(buffer):
    saved = keras.saving.serialize_keras_object(buffer)
    return keras.saving.deserialize_keras_object(saved)


@pytest.mark.parametrize(("make", "arguments"), CASES)
def test_every_argument_survives(make, arguments):
    buffer = make(**arguments)
    assert buffer.get_config() == arguments
    copy = copy_of(buffer)
    assert type(copy) is make
    assert copy.get_config() == arguments
    assert str(copy) == str(buffer)


@pytest.mark.parametrize(("make", "arguments"), CASES)
def test_copy_draws_the_same_from_the_same_transitions(make, arguments):
    one = make(**arguments | {"num_envs": 1, "frame_stack": 1, "episode_length": None})
    other = copy_of(one)
    assert not other.built  # nothing that is stored is copied
    for buffer in (one, other):
        feed(buffer, range(20))
    assert copy_of(one).get_config() == one.get_config()  # once built, too
    first, second = one.sample(50), other.sample(50)
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("make", "arguments"), CASES)
def test_defaults_survive_and_the_seed_that_was_drawn(make, arguments):
    buffer = make(5)
    config = buffer.get_config()
    assert config.keys() == arguments.keys()
    assert isinstance(config["seed"], int)
    assert copy_of(buffer).get_config() == config


@pytest.mark.parametrize("make", [ReplayBuffer, PrioritizedReplayBuffer])
def test_nested_frame_stacks_are_plain(make):
    stacks = {"image": 4, "more": (1, 2)}
    buffer = make(5, frame_stack=stacks)
    config = buffer.get_config()
    assert config["frame_stack"] == stacks
    assert type(config["frame_stack"]) is dict
    assert make.from_config(config).get_config() == config


@pytest.mark.parametrize(("make", "arguments"), CASES)
def test_other_arguments_are_refused(make, arguments):
    config = make(**arguments).get_config()
    with pytest.raises(TypeError, match="colour"):
        make.from_config(config | {"colour": "red"})
    with pytest.raises(ValueError, match="gamma"):
        make.from_config(config | {"gamma": 2.0})


@pytest.mark.parametrize(("make", "arguments"), CASES)
def test_config_does_not_disturb_a_checkpoint(make, arguments, tmp_path):
    buffer = make(**arguments | {"num_envs": 1, "frame_stack": 1})
    feed(buffer, range(3))
    buffer.get_config()
    path = tf.train.Checkpoint(buffer=buffer).save(str(tmp_path / "buffer"))
    other = copy_of(buffer)
    other.build(tf.TensorSpec([1], tf.float32), tf.TensorSpec([], tf.int32))
    tf.train.Checkpoint(buffer=other).restore(path).expect_partial()
    np.testing.assert_array_equal(other.get([0, 1, 2]).action, [0, 1, 2])
