"""Every row of `golden/replay.json`, in every run mode."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import (
    NumpyPrioritizedReplayBuffer,
    PrioritizedReplayBuffer,
    SumTree,
)
from tests.buffers.naive import MODES, as_arguments, wrap
from tests.buffers.test_replay import feed


@pytest.fixture
def case(golden):
    return golden("replay")


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


def buffer_of(mode, case):
    """A buffer whose priorities were set in `mode`."""
    numpy = mode == "numpy"
    make = NumpyPrioritizedReplayBuffer if numpy else PrioritizedReplayBuffer
    capacity, priority = case["capacity"], np.array(case["inputs"]["priority"])
    buffer = make(capacity, alpha=case["alpha"], beta=case["beta"], epsilon=0.0)
    feed(buffer, range(capacity))

    def update(index, td_error):
        buffer.update_priorities(index, td_error)
        return 0

    wrap(mode, update)(*as_arguments(mode, [np.arange(capacity), priority]))
    return buffer


def test_no_row_is_left_out(case):
    assert case["inputs"].keys() == {"priority", "mass"}
    assert case["outputs"].keys() == {
        "tree_leaf", "total", "leaf_of_mass",  # test_tree, test_leaves
        "probability", "importance_weight_unnormalised",  # test_probability_and_weight
    }  # fmt: skip


def test_leaves(case, mode):
    buffer, expected = buffer_of(mode, case), case["outputs"]
    if mode == "numpy":
        leaves = buffer._nodes[len(buffer._nodes) // 2 :][: case["capacity"]]
        total, find = buffer._nodes[1], buffer._find
    else:
        leaves = wrap(mode, buffer.tree.get)(tf.range(case["capacity"]))
        total, find = wrap(mode, buffer.tree.total)(), wrap(mode, buffer.tree.find)
    np.testing.assert_allclose(leaves, expected["tree_leaf"], rtol=1e-12)
    np.testing.assert_allclose(total, expected["total"], rtol=1e-12)
    [mass] = as_arguments(mode, [np.array(case["inputs"]["mass"])])
    np.testing.assert_array_equal(find(mass), expected["leaf_of_mass"])


def test_tree(case, compiled):
    tree, expected = SumTree(case["capacity"]), case["outputs"]

    def update(index, priority):
        tree.update(index, priority)
        return tree.total()

    leaf = tf.constant(expected["tree_leaf"], tf.float64)
    total = compiled(update)(tf.range(case["capacity"]), leaf)
    np.testing.assert_allclose(total, expected["total"], rtol=1e-14)
    found = compiled(tree.find)(tf.constant(case["inputs"]["mass"], tf.float64))
    np.testing.assert_array_equal(found, expected["leaf_of_mass"])


def test_probability_and_weight(case, mode):
    buffer, expected = buffer_of(mode, case), case["outputs"]
    everything, seed = as_arguments(mode, [np.arange(case["capacity"]), [1, 1]])
    probability = wrap(mode, buffer.probability)(everything)
    np.testing.assert_allclose(probability, expected["probability"], rtol=1e-12)
    index, batch = wrap(mode, lambda seed: buffer.sample(4000, seed))(seed)
    index = np.asarray(index)
    assert set(index.tolist()) == set(range(11)) - {3}  # its priority is 0
    raw = np.array(expected["importance_weight_unnormalised"])
    largest = raw[np.unique(index)].max()
    np.testing.assert_allclose(batch.weight, raw[index] / largest, rtol=1e-6)
