"""Tests of `kerasrl2.losses.temporal_difference`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.losses import (
    double_q_td_error,
    importance_weighted_td_loss,
    q_learning_td_error,
    value_of_action,
)


def tensors(golden, *names):
    data = golden("losses")
    values = {name: np.array(values) for name, values in data["inputs"].items()}
    values["discount"] = data["gamma"] * (1.0 - values["terminated"])
    return [
        tf.constant(values[name], tf.int32 if name == "action" else tf.float64)
        for name in names
    ]


def test_golden_rows(compiled, golden):
    outputs = golden("losses")["outputs"]
    transition = tensors(golden, "q_values", "action", "reward", "discount")
    online, target, weight = tensors(
        golden, "next_q_values_online", "next_q_values_target", "weight"
    )
    single = compiled(q_learning_td_error)(*transition, target)
    double = compiled(double_q_td_error)(*transition, online, target)
    loss = compiled(importance_weighted_td_loss)(double, weight)
    np.testing.assert_allclose(single, outputs["q_learning_td_error"], atol=1e-7)
    np.testing.assert_allclose(double, outputs["double_q_td_error"], atol=1e-7)
    np.testing.assert_allclose(loss, outputs["importance_weighted_td_loss"], atol=1e-7)


@pytest.mark.parametrize(
    ("discount", "single", "double"),
    [(0.9, 5.5, 2.8), (0.0, 1.0, 1.0)],  # systems.md 000-01, 000-02; terminated: r
)
def test_check_numbers(discount, single, double):
    zero, one = tf.zeros([1, 2]), tf.ones([1])
    online, target = tf.constant([[3.0, 1.0]]), tf.constant([[2.0, 5.0]])
    transition = zero, tf.constant([0]), one, discount * one
    np.testing.assert_allclose(q_learning_td_error(*transition, target), [single])
    np.testing.assert_allclose(
        double_q_td_error(*transition, online, target), [double], rtol=1e-6
    )


def test_target_is_a_vector_not_a_matrix():
    """004-08: y = [11, 17]; picking all rows and actions would mix the samples."""
    online = tf.constant([[0.0, 1.0], [1.0, 0.0]])
    target = tf.constant([[10.0, 20.0], [30.0, 40.0]])
    error = double_q_td_error(
        tf.zeros([2, 2]), tf.constant([0, 1]), tf.constant([1.0, 2.0]),
        tf.constant([0.5, 0.5]), online, target,
    )  # fmt: skip
    np.testing.assert_allclose(error, [11.0, 17.0])


def test_gradients_reach_only_the_action_taken(compiled):
    rng = np.random.default_rng(0)
    q, online, target = (
        tf.constant(rng.normal(size=[5, 3]), tf.float32) for _ in range(3)
    )
    action = tf.constant([0, 2, 1, 1, 0])
    reward, discount = tf.ones([5]), 0.9 * tf.ones([5])

    def loss(q, online, target, reward):
        error = double_q_td_error(q, action, reward, discount, online, target)
        return importance_weighted_td_loss(error, tf.ones([5]))

    with tf.GradientTape() as tape:
        inputs = [q, online, target, reward]
        tape.watch(inputs)
        value = compiled(loss)(*inputs)
    slopes = tape.gradient(value, inputs, unconnected_gradients="zero")
    taken = tf.one_hot(action, 3).numpy() > 0
    assert np.all(slopes[0].numpy()[~taken] == 0.0)
    assert np.all(slopes[0].numpy()[taken] != 0.0)
    for slope in slopes[1:]:
        assert not np.any(slope.numpy())


def test_rows_do_not_depend_on_their_batch_mates(golden):
    names = "q_values", "action", "reward", "discount"
    rows = [
        *tensors(golden, *names),
        *tensors(golden, "next_q_values_online", "next_q_values_target"),
    ]
    whole = double_q_td_error(*rows).numpy()
    order = np.random.default_rng(1).permutation(len(whole))
    shuffled = double_q_td_error(*[tf.gather(row, order) for row in rows])
    np.testing.assert_array_equal(shuffled, whole[order])
    alone = [double_q_td_error(*[r[i : i + 1] for r in rows])[0] for i in order]
    np.testing.assert_allclose(alone, whole[order], rtol=1e-12)


def test_equal_networks_make_double_q_learning_q_learning():
    rng = np.random.default_rng(2)
    q, following = (tf.constant(rng.normal(size=[9, 4])) for _ in range(2))
    action = tf.constant(rng.integers(0, 4, 9), tf.int32)
    reward, discount = (tf.constant(rng.normal(size=9)) for _ in range(2))
    transition = q, action, reward, discount
    np.testing.assert_array_equal(
        double_q_td_error(*transition, following, following),
        q_learning_td_error(*transition, following),
    )


def test_ranks_are_checked():
    with pytest.raises(ValueError, match=r"\[\.\.\., A\]"):
        value_of_action(tf.zeros([2, 3]), tf.zeros([2, 1], tf.int32))
    with pytest.raises(ValueError, match="one shape"):
        q_learning_td_error(
            tf.zeros([2, 3]), tf.zeros([2], tf.int32), tf.zeros([2, 1]),
            tf.zeros([2, 1]), tf.zeros([2, 3]),
        )  # fmt: skip
    with pytest.raises(ValueError, match="one shape"):
        importance_weighted_td_loss(tf.zeros([2]), tf.zeros([2, 1]))
