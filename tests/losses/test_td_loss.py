"""Tests of `kerasrl2.losses.ImportanceWeightedTDLoss`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.losses import ImportanceWeightedTDLoss

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

Q = np.float32([[0.0, 3.0, -7.0], [5.0, 1.0, 4.0]])
TRUTH = np.float32([[1, 4.0], [0, 3.0]])  # errors 1 and -2
WEIGHT = np.float32([1.0, 0.5])


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(
    ("arguments", "per_sample"),
    [  # systems.md 004-06
        ({}, [0.5, 0.75]),  # mean 0.625
        ({"loss": "squared"}, [1.0, 2.0]),  # mean 1.5
        ({"delta": 0.5}, [0.375, 0.4375]),
        ({"loss": "squared", "delta": 0.5}, [1.0, 2.0]),  # delta is of Huber only
    ],
)
def test_values_by_hand(compiled, column, arguments, per_sample):
    weight = tf.constant(WEIGHT[:, None] if column else WEIGHT)
    for reduction, reduce in [
        ("sum_over_batch_size", np.mean),
        ("sum", np.sum),
        ("none", np.asarray),
    ]:
        loss = ImportanceWeightedTDLoss(reduction=reduction, **arguments)
        result = compiled(loss)(tf.constant(TRUTH), tf.constant(Q), weight)
        np.testing.assert_allclose(result, reduce(np.array(per_sample)), rtol=1e-6)


def test_without_weights():
    np.testing.assert_allclose(ImportanceWeightedTDLoss()(TRUTH, Q), (0.5 + 1.5) / 2.0)


def test_slopes_by_hand(compiled):
    """-w clip(error, -1, 1) / B at the action taken; elsewhere exactly 0."""
    q, truth = tf.constant(Q), tf.constant(TRUTH)
    for loss, slopes in [
        ("huber", [[0.0, -0.5, 0.0], [0.25, 0.0, 0.0]]),
        ("squared", [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]),
    ]:
        function = compiled(ImportanceWeightedTDLoss(loss))
        with tf.GradientTape() as tape:
            tape.watch([q, truth])
            value = function(truth, q, tf.constant(WEIGHT))
        actual = tape.gradient(value, [q, truth], unconnected_gradients="zero")
        np.testing.assert_array_equal(actual[0], slopes)
        assert not np.any(actual[1].numpy())


def test_is_the_mean_whatever_the_weights_and_actions():
    """Halving the weights halves the loss; more actions, or the batch twice, do not."""
    loss = ImportanceWeightedTDLoss()
    once = loss(TRUTH, Q, sample_weight=WEIGHT)
    np.testing.assert_allclose(
        loss(TRUTH, Q, sample_weight=WEIGHT / 2.0), once / 2.0, rtol=1e-6
    )
    twice = [np.concatenate([x, x]) for x in (TRUTH, Q, WEIGHT)]
    np.testing.assert_allclose(loss(*twice), once, rtol=1e-6)
    wide = np.concatenate([Q, Q], axis=1)
    np.testing.assert_allclose(loss(TRUTH, wide, WEIGHT), once, rtol=1e-6)


def test_actions_survive_the_cast_to_float(compiled):
    """The last of 70 001 actions; nearly whole numbers are rounded, not cut."""
    size = 70_001
    q = tf.reshape(tf.range(size, dtype=tf.float32), [1, size])
    loss = compiled(ImportanceWeightedTDLoss("squared"))
    assert float(loss(tf.constant([[size - 1, size - 1.0]]), q)) == 0.0
    assert float(loss(tf.constant([[size - 1 - 0.004, size - 1.0]]), q)) == 0.0
    assert np.float32(2**24) == 2**24
    integers = tf.constant([[1, 3], [0, 5]])
    assert float(loss(integers, tf.constant(Q))) == 0.0


@pytest.mark.parametrize(
    "jit_compile", [True, pytest.param(False, marks=pytest.mark.long)]
)
def test_fit_and_file(tmp_path, jit_compile):
    rng = np.random.default_rng(0)
    x = rng.normal(size=[8, 4]).astype("f4")
    truth = np.stack([rng.integers(3, size=8), rng.normal(size=8)], axis=1)
    weight = rng.random(8)
    model = keras.Sequential([keras.Input([4]), keras.layers.Dense(3)])
    model.compile(
        keras.optimizers.SGD(0.1),
        loss=ImportanceWeightedTDLoss("squared"),
        jit_compile=jit_compile,
    )
    kernel = model.layers[0].kernel.numpy()
    action = truth[:, 0].astype(int)
    error = truth[:, 1] - (x @ kernel)[np.arange(8), action]
    slope = np.zeros([8, 3])
    slope[np.arange(8), action] = -2.0 * weight * error / 8.0
    history = model.fit(
        x, truth, sample_weight=weight, batch_size=8, verbose=0
    ).history["loss"]
    np.testing.assert_allclose(history, [np.mean(weight * error**2)], rtol=1e-5)
    np.testing.assert_allclose(
        model.layers[0].kernel, kernel - 0.1 * x.T @ slope, atol=1e-6
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == model.loss.get_config()
    arguments = {"sample_weight": weight, "verbose": 0}
    np.testing.assert_allclose(
        loaded.evaluate(x, truth, **arguments),
        model.evaluate(x, truth, **arguments),
        rtol=1e-6,
    )


def test_config_round_trip():
    loss = ImportanceWeightedTDLoss("squared", 2.0, reduction="sum", name="mine")
    config = keras.losses.serialize(loss)
    assert config["registered_name"] == "kerasrl2>ImportanceWeightedTDLoss"
    assert keras.losses.deserialize(config).get_config() == loss.get_config()


def test_bad_input():
    loss = ImportanceWeightedTDLoss()
    with pytest.raises(ValueError, match=r"`y_true` \[B, 2\]"):
        loss(TRUTH[:, 0], Q)
    with pytest.raises(ValueError, match=r"`y_true` \[B, 2\]"):
        loss(Q, Q)  # targets for every action
    with pytest.raises(ValueError, match=r"`y_pred` \[B, A\]"):
        loss(TRUTH, Q[:, 0])
    with pytest.raises(ValueError, match="one shape"):
        loss(TRUTH[:1], Q)
    with pytest.raises(ValueError, match="`sample_weight`"):
        loss(TRUTH, Q, sample_weight=np.ones([2, 3]))
    with pytest.raises(ValueError, match="Did you mean 'huber'"):
        ImportanceWeightedTDLoss("hubert")
    with pytest.raises(ValueError, match="`delta`"):
        ImportanceWeightedTDLoss(delta=0.0)
    with pytest.raises(ValueError, match="`reduction`"):
        ImportanceWeightedTDLoss(reduction="mean_with_sample_weight")
