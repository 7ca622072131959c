"""Blocks of steps in one call, `add_rollout`, against as many calls of `add`."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import (
    NumpyPrioritizedReplayBuffer,
    NumpyReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
)
from kerasrl2.types import Rollout
from tests.buffers.naive import Feeder, columns_of, wrap

STEPS, ENVS = 6, 3
FIELDS = (
    "observation", "action", "reward", "terminated", "truncated", "next_observation",
)  # fmt: skip
UNIFORM = {"numpy": NumpyReplayBuffer}
PRIORITIZED = {"numpy": NumpyPrioritizedReplayBuffer}


class Block(NamedTuple):
    """The fields of `Rollout` that matter here."""

    observation: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    valid: Any
    next_observation: Any


def make(mode, kind, capacity=21, **more):
    more = {"seed": 0} | more
    if kind == "flat":
        return UNIFORM.get(mode, ReplayBuffer)(capacity, n_step=3, **more)
    if kind == "frames":
        more |= {"frame_stack": 2, "episode_length": 3}
        return UNIFORM.get(mode, ReplayBuffer)(capacity, n_step=3, **more)
    more |= {"frame_stack": 2, "prioritization": kind, "n_step": 2}
    return PRIORITIZED.get(mode, PrioritizedReplayBuffer)(capacity, **more)


def blocks(count, steps=STEPS, stack=2):
    """Rollouts with invalid rows, ends of episodes and jumps inside."""
    feeder = Feeder(ENVS, stack, seed=4, jumps=0.1)
    for _ in range(count):
        rows = [columns_of(*feeder.step()) for _ in range(steps)]
        *fields, following, valid = (np.stack(part) for part in zip(*rows, strict=True))
        yield Block(*fields, valid, following)


def errors(block, time):
    return np.random.default_rng(time).normal(size=block.reward.shape)


def state(buffer):
    """All that a buffer keeps, as arrays."""
    if isinstance(buffer, NumpyReplayBuffer):
        return list(buffer._arrays.named.values())
    return [variable.numpy() for variable in buffer.variables]


def add_steps(add, block, td_error=None):
    """`add_rollout` as `T` calls of `add`."""
    indices = []
    for t in range(len(block.reward)):
        more = {} if td_error is None else {"td_error": td_error[t]}
        index = add(
            block.observation[t], block.action[t], block.reward[t],
            block.terminated[t], block.truncated[t], block.next_observation[t],
            None if block.valid is None else block.valid[t], **more,
        )  # fmt: skip
        indices.append(np.asarray(index))
    return np.stack(indices)


def assert_same_state(buffer, other):
    for one, two in zip(state(buffer), state(other), strict=True):
        np.testing.assert_array_equal(one, two)


LONG = [
    ("graph", "frames"),
    ("graph", "proportional"),
    ("graph", "rank"),
    ("xla", "flat"),
    ("xla", "proportional"),
    ("xla", "rank"),
]


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        pytest.param(*case, marks=pytest.mark.long if case in LONG else ())
        for case in itertools.product(
            ["numpy", "graph", "xla"], ["flat", "frames", "proportional", "rank"]
        )
    ],
)
def test_equals_as_many_adds_bit_for_bit(mode, kind):
    buffer, other = make(mode, kind), make(mode, kind)
    ranked = kind in ("proportional", "rank")
    add_rollout, add = wrap(mode, buffer.add_rollout), wrap(mode, other.add)
    for time, block in enumerate(blocks(3)):  # 54 rows, of which 21 are held
        assert 0 < np.mean(block.valid) < 1
        assert (block.terminated | block.truncated)[:-1].any()
        arguments = (block, errors(block, time)) if ranked else (block,)
        if mode != "numpy":
            arguments = tf.nest.map_structure(tf.constant, arguments)
        index = np.asarray(add_rollout(*arguments))
        assert index.dtype == np.int64
        np.testing.assert_array_equal(index, add_steps(add, *arguments))
        np.testing.assert_array_equal(index >= 0, block.valid)
        assert_same_state(buffer, other)


@pytest.mark.parametrize("mode", ["numpy", "eager"])
def test_first_block_builds_and_nests_are_split(mode):
    [block] = blocks(1, steps=2)
    block = Rollout(*block)._replace(
        observation={"a": block.observation, "b": (block.reward,)},
        next_observation={"a": block.next_observation, "b": (block.reward,)},
        valid=None,
    )
    buffer = UNIFORM.get(mode, ReplayBuffer)(30)
    index = np.asarray(buffer.add_rollout(block))
    np.testing.assert_array_equal(index, np.arange(6).reshape([2, 3]))
    batch = buffer.get(index[1])
    np.testing.assert_array_equal(batch.observation["a"], block.observation["a"][1])
    np.testing.assert_array_equal(batch.observation["b"][0], block.reward[1])
    np.testing.assert_array_equal(batch.action, block.action[1])


@pytest.mark.parametrize("mode", ["numpy", "graph"])
def test_one_step_is_one_add_and_no_loop(mode, monkeypatch):
    [block] = blocks(1, steps=1)
    buffer, other = make(mode, "flat"), make(mode, "flat")
    monkeypatch.setattr(type(buffer), "_stack_steps", None)
    index = wrap(mode, buffer.add_rollout)(block)
    expected = add_steps(wrap(mode, other.add), block)
    np.testing.assert_array_equal(index, expected)
    assert_same_state(buffer, other)


def test_one_step_costs_no_operation_of_note():
    """Beyond `add` only what takes the axis `T` off and puts it on."""

    def operations(function, *arguments):
        graph = tf.function(function).get_concrete_function(*arguments).graph
        kinds = [node.type for node in graph.get_operations()]
        slices = {"StridedSlice", "Const", "Placeholder", "Identity", "NoOp"}
        return sorted(kind for kind in kinds if kind not in slices)

    [block] = blocks(1, steps=1)
    block = tf.nest.map_structure(tf.constant, block)
    buffer = make("graph", "proportional")
    buffer.add_rollout(block)
    fields = (getattr(block, name)[0] for name in (*FIELDS, "valid"))
    assert operations(buffer.add_rollout, block) == operations(buffer.add, *fields)


def test_program_does_not_grow_with_the_block():
    buffer = make("graph", "flat")
    sizes = []
    for steps in (2, 9):
        [block] = blocks(1, steps=steps)
        buffer.add_rollout(block)
        traced = tf.function(buffer.add_rollout).get_concrete_function(block)
        definition = traced.graph.as_graph_def()
        bodies = definition.library.function
        sizes.append(len(definition.node) + sum(len(f.node_def) for f in bodies))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("kind", ["flat", "frames", "proportional"])
@pytest.mark.parametrize("mode", ["numpy", "eager"])
def test_bad_blocks_store_nothing(mode, kind):
    good, block = blocks(2, steps=2)
    buffer = make(mode, kind)
    buffer.add_rollout(good)
    before = [np.copy(part) for part in state(buffer)]
    wrong = [
        (block._replace(reward=block.reward[:1]), None, "same static T"),
        (block._replace(action=block.action[0, 0]), None, "same static T"),
        (tf.nest.map_structure(lambda x: x[:0], block), None, "same static T"),
        (block._replace(valid=block.valid[:, :2]), None, "`valid` of shape"),
        (block._replace(observation=block.reward), None, "`observation` of shape"),
    ]
    if kind == "proportional":
        error = errors(block, 0)
        error[1, 2] = np.nan
        wrong += [
            (block, error, "Expected finite TD errors"),
            (block, error[:1], "same static T"),
        ]
    else:
        wrong.append((block, errors(block, 0), "Expected no `td_error`"))
    for bad, td_error, message in wrong:
        with pytest.raises(ValueError, match=message):
            buffer.add_rollout(bad, td_error)
        for one, two in zip(before, state(buffer), strict=True):
            np.testing.assert_array_equal(one, two)


def test_errors_that_are_not_finite_are_counted_in_graphs():
    [block] = blocks(1, steps=3)
    buffer = make("graph", "proportional", epsilon=0.0, alpha=1.0)
    block = block._replace(valid=None)
    error = np.full([3, ENVS], 4.0)
    error[1, 1], error[2, 0] = np.nan, np.inf
    index = tf.function(buffer.add_rollout)(block, tf.constant(error))
    assert int(buffer.refused_updates) == 2
    assert float(buffer.max_priority) == 4.0
    priority = np.asarray(buffer.probability(tf.reshape(index, [-1])))
    np.testing.assert_allclose(priority, 1 / 9)  # the refused ones got the largest


def test_unknown_number_of_steps_is_refused():
    [block] = blocks(1)
    specs = tf.nest.map_structure(
        lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), block
    )
    buffer = make("graph", "flat")
    with pytest.raises(ValueError, match="same static T >= 1"):
        tf.function(buffer.add_rollout).get_concrete_function(specs)
