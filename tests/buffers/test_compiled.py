"""Buffers inside compiled loops: no copies, one trace, checkpoints; and on disk."""

import re

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import (
    NumpyPrioritizedReplayBuffer,
    NumpyReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SumTree,
)
from kerasrl2.buffers._variables import ReadFence, uniform
from kerasrl2.types import Rollout
from tests.buffers.test_replay import feed

LARGE = 100_000
OBSERVATION = tf.TensorSpec([16, 2], tf.float32), tf.TensorSpec([], tf.int32)


def build(kind, capacity, num_envs=2):
    if kind == "uniform":
        buffer = ReplayBuffer(capacity, num_envs, n_step=3, frame_stack=2)
    elif kind == "one step":
        buffer = ReplayBuffer(capacity, 1)
    else:
        rank = {"prioritization": "rank", "sort_every": 10**9, "normalization": "batch"}
        more = rank if kind == "rank" else {"normalization": "buffer"}
        buffer = PrioritizedReplayBuffer(capacity, num_envs, n_step=3, **more)
    buffer.build(*OBSERVATION)
    return buffer


def loop_of(buffer, order, jit_compile):
    """`loop(start, steps)`: steps of a training loop; returns a sum over all drawn."""
    num_envs = buffer.num_envs
    off = tf.zeros([num_envs], tf.bool)

    def add(i):
        now = tf.fill([num_envs, 16, 2], tf.cast(i, tf.float32))
        action = tf.fill([num_envs], i)
        truncated = tf.fill([num_envs], i % 7 == 6)
        buffer.add(now, action, now[:, 0, 0], off, truncated, now + 1.0)

    def add_rollout(i):
        steps = (i + tf.range(3))[:, None]
        now = (
            tf.zeros([3, num_envs, 16, 2]) + tf.cast(steps, tf.float32)[..., None, None]
        )
        action = steps + tf.zeros([3, num_envs], tf.int32)
        block = Rollout(
            now,
            action,
            now[..., 0, 0],
            action < 0,
            action % 7 == 6,
            action % 5 > 0,
            now + 1.0,
        )
        errors = now[..., 0, 0] if isinstance(buffer, PrioritizedReplayBuffer) else None
        buffer.add_rollout(block, errors)

    def sample(i):
        index, batch = buffer.sample(16, tf.stack([i, 3]))
        if isinstance(buffer, PrioritizedReplayBuffer):
            buffer.update_priorities(index, batch.reward % 5.0)
        return tf.reduce_sum(batch.next_observation) + tf.reduce_sum(batch.weight)

    @tf.function(jit_compile=jit_compile)
    def loop(start, steps):
        def body(i, total):
            for number, part in enumerate(order.split("-")):
                if part == "add":
                    add(2 * i + number)
                elif part == "rollout":
                    add_rollout(4 * i + number)
                else:
                    total += sample(2 * i + number)
            return i + 1, total

        state = start, tf.constant(0.0)
        return tf.while_loop(lambda i, _: i < start + steps, body, state)[1]

    return loop


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "order"),
    [
        ("proportional", "sample-add-sample"),
        ("rank", "sample-add"),
        ("one step", "add-sample"),
        ("one step", "sample-add-add-sample"),
        ("uniform", "sample-rollout-sample"),
        ("proportional", "sample-rollout-sample"),
        ("rank", "rollout-sample"),
        ("one step", "sample-rollout"),
    ],
)
def test_no_step_copies_the_buffer(kind, order):
    """Reads before writes are what XLA copies for, if it may."""
    buffer = build(kind, LARGE)
    loop = loop_of(buffer, order, jit_compile=True)
    start = tf.constant(0), tf.constant(20)
    assert max(copied(loop, *start)) < LARGE / 10
    loop(*start)
    loop(*start)
    assert loop.experimental_get_tracing_count() == 1


@pytest.mark.long
def test_no_step_copies_a_tree():
    tree = SumTree(LARGE, track_minimum=True)

    @tf.function(jit_compile=True)
    def loop(steps):
        def body(i, total):  # reads that no write depends on, in both orders
            total += tf.reduce_sum(tree.get([1, 2])) + tree.total()
            row = tf.cast(uniform([8], tf.stack([i, 0])) * LARGE, tf.int32)
            tree.update(row, tf.ones([8], tf.float64))
            total += tree.minimum()
            found, _ = tree.lookup(uniform([8], tf.stack([i, 1])))
            tree.update(row, tf.ones([8], tf.float64))
            return i + 1, total + tf.cast(tf.reduce_sum(found), tf.float64)

        zero = tf.constant(0.0, tf.float64)
        return tf.while_loop(lambda i, _: i < steps, body, (0, zero))[1]

    assert max(copied(loop, tf.constant(3))) < LARGE / 10


@pytest.mark.long
def test_the_checks_above_see_a_copy(monkeypatch):
    """Without the fence XLA copies the whole tree in each step."""
    monkeypatch.setattr(ReadFence, "order", lambda self, index: index)
    buffer = build("proportional", LARGE)
    loop = loop_of(buffer, "sample-add-sample", jit_compile=True)
    assert max(copied(loop, tf.constant(0), tf.constant(20))) >= LARGE


@pytest.mark.long
@pytest.mark.parametrize("kind", ["uniform", "proportional"])
def test_no_call_outside_xla_copies_the_buffer(kind):
    """Nothing but scatter and gather touches a large variable."""
    buffer = build(kind, LARGE)
    loop = loop_of(buffer, "sample-rollout", jit_compile=False)
    graph = loop.get_concrete_function(tf.constant(0), tf.constant(5)).graph
    definition = graph.as_graph_def(add_shapes=True)
    nodes = [n for f in definition.library.function for n in f.node_def]
    read = {
        tuple(d.size for d in shape.dim)
        for node in (*nodes, *definition.node)
        if node.op == "ReadVariableOp"
        for shape in node.attr["_output_shapes"].list.shape
    }
    assert read
    assert max(np.prod(shape, dtype=int) for shape in read) < LARGE / 10


def copied(loop, *arguments):
    """Sizes of what the program that XLA makes of a function copies, in elements."""
    text = loop.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    shapes = re.findall(r"= \w+\[([\d,]*)\]\S* copy(?:-start)?\(", text)
    assert shapes
    return [np.prod([int(n) for n in x.split(",") if n], dtype=int) for x in shapes]


@pytest.mark.parametrize(
    ("kind", "built_first"),
    [
        ("uniform", True),
        pytest.param("rank", False, marks=pytest.mark.long),
        pytest.param("uniform", False, marks=pytest.mark.long),
        pytest.param("rank", True, marks=pytest.mark.long),
    ],
)
def test_checkpoint_continues_bit_for_bit(kind, built_first, tmp_path):
    def make(seed):
        more = {"n_step": 2, "frame_stack": 2, "seed": seed}
        if kind == "uniform":
            return ReplayBuffer(12, 2, **more)
        return PrioritizedReplayBuffer(
            12, 2, prioritization="rank", beta_steps=50, sort_every=4, **more
        )

    def run(buffer, start, stop):
        drawn = []
        for t in range(start, stop):
            now = np.full([2, 3, 2], t, np.float32)
            flags = [[t % 5 == 4] * 2, [t % 7 == 6] * 2]
            buffer.add(now, [t, t], [1.0, 2.0], *flags, now + 1, [True, t % 3 > 0])
            index, batch = buffer.sample(8)
            drawn.append([index, *tf.nest.flatten(batch)])
            if kind != "uniform":
                buffer.update_priorities(index, batch.reward * batch.weight)
        return tf.nest.map_structure(lambda x: x.numpy(), drawn)

    buffer = make(seed=1)
    run(buffer, 0, 20)
    path = tf.train.Checkpoint(buffer=buffer).save(str(tmp_path / "run"))
    expected = run(buffer, 20, 26)
    other = make(seed=2)
    specs = tf.TensorSpec([3, 2], tf.float32), tf.TensorSpec([], tf.int32)
    if built_first:
        other.build(*specs)
        tf.train.Checkpoint(buffer=other).restore(path).assert_consumed()
    else:
        status = tf.train.Checkpoint(buffer=other).restore(path)
        other.build(*specs)
        status.assert_consumed()
    found = run(other, 20, 26)
    for one, two in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(buffer.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.long
@pytest.mark.parametrize("jit_compile", [False, True])
def test_first_add_may_be_inside_a_loop(jit_compile):
    buffer = ReplayBuffer(5)

    @tf.function(jit_compile=jit_compile)
    def loop():
        def body(i):
            row = tf.fill([1, 1], tf.cast(i, tf.float32))
            buffer.add(row, [i], [0.0], [False], [False], row + 1.0)
            return (i + 1,)

        return tf.while_loop(lambda i: i < 8, body, (0,))

    loop()
    np.testing.assert_array_equal(np.unique(buffer.sample(99)[1].action), range(3, 8))


def test_buffer_on_disk_goes_on(tmp_path):
    arguments = {"directory": tmp_path / "replay", "n_step": 2, "gamma": 1.0}
    first = NumpyReplayBuffer(4, **arguments)
    feed(first, range(6))
    first.flush()
    del first
    second = NumpyReplayBuffer(4, **arguments)
    second.build(tf.TensorSpec([1], tf.float32), tf.TensorSpec([], tf.int64))
    assert len(second) == 4
    feed(second, [6])
    index, batch = second.sample(99)
    np.testing.assert_array_equal(np.unique(index), [3, 4, 5, 6])
    np.testing.assert_array_equal(index, batch.action)
    np.testing.assert_array_equal(second.get([4, 6]).reward, [2.0, 1.0])
    with pytest.raises(ValueError, match="to hold a buffer of"):
        feed(NumpyReplayBuffer(5, **arguments), [0])


@pytest.mark.parametrize("prioritization", ["proportional", "rank"])
def test_priorities_on_disk_go_on(tmp_path, prioritization):
    def make():
        return NumpyPrioritizedReplayBuffer(
            4, directory=tmp_path, beta_steps=10, prioritization=prioritization
        )

    first = make()
    feed(first, range(4))
    first.update_priorities([0, 1, 2, 3], [1.0, 5.0, 2.0, 3.0])
    first.sample(3)
    second = make()
    second.build(tf.TensorSpec([1], tf.float32), tf.TensorSpec([], tf.int64))
    index = np.arange(4)
    second.sample(1)
    np.testing.assert_array_equal(second.probability(index), first.probability(index))
    assert second.max_priority == 5.01
    assert second.beta() == pytest.approx(0.4 + 0.6 * 0.2)


def test_what_the_disk_cannot_hold_is_refused(tmp_path):
    buffer = NumpyReplayBuffer(10**12, directory=tmp_path)
    with pytest.raises(ValueError, match="Expected a buffer that fits"):
        buffer.build(*OBSERVATION)
