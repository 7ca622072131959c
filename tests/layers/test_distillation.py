"""Tests of `kerasrl2.layers.RandomNetworkDistillation`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.agents import random_network_distillation
from kerasrl2.layers import RandomNetworkDistillation, RunningNormalization, mlp
from tests.layers.test_normalization import naive_returns

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
BOX = spaces.Box(-1.0, 1.0, [4])
NO_SEED = tf.constant([0, 0])


def constant_features(predicted, known, **settings):
    """Features that do not depend on the one input: kernels of 0."""
    networks = []
    for features in (predicted, known):
        network = keras.Sequential([keras.Input([1]), keras.layers.Dense(2)])
        network.set_weights([np.zeros([1, 2]), np.array(features)])
        networks.append(network)
    layer = RandomNetworkDistillation(*networks, **settings)
    layer.build([None, 1])
    return layer


def test_bonus_loss_and_slope_by_hand(compiled):
    """`f = [1, 2]`, `f_hat = [0, 4]`: 1 + 4; the loss is the mean of both features."""
    layer = constant_features([0.0, 4.0], [1.0, 2.0])
    x, valid = tf.ones([3, 1]), tf.constant([True, True, False])
    bias = layer.predictor.layers[-1].bias

    def run(x, valid):
        with tf.GradientTape() as tape:
            loss = layer.loss(x, valid, NO_SEED)
        return layer(x), loss, tape.gradient(loss, bias.value)

    bonus, loss, slope = compiled(run)(x, valid)
    np.testing.assert_allclose(bonus, [5.0, 5.0, 5.0], rtol=1e-6)
    assert float(loss) == pytest.approx(2.5, rel=1e-6)
    np.testing.assert_allclose(slope, [-1.0, 2.0], rtol=1e-6)  # (f_hat - f) 2 / 2
    assert [w.path for w in layer.trainable_variables] == [
        w.path for w in layer.predictor.trainable_variables
    ]


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_repeated_is_known_and_what_is_not_stays_new(seed):
    """After 500 steps below 5 %, what was never seen above half."""
    rng = np.random.default_rng(seed)
    layer = random_network_distillation(BOX, seed=seed)
    repeated = tf.constant(rng.normal(size=[1, 4]), tf.float32)
    unseen = tf.constant(rng.normal(size=[64, 4]), tf.float32)
    start, new = float(layer(repeated)[0]), layer(unseen).numpy()
    target = layer.target.get_weights()
    optimizer = keras.optimizers.Adam(1e-3)
    variables = layer.trainable_variables
    optimizer.build(variables)

    @tf.function
    def steps():
        for _ in tf.range(500):
            with tf.GradientTape() as tape:
                loss = layer.loss(repeated, tf.constant([True]), NO_SEED)
            slopes = tape.gradient(loss, [v.value for v in variables])
            optimizer.apply(slopes, variables)

    steps()
    assert float(layer(repeated)[0]) < 0.05 * start
    assert np.median(layer(unseen).numpy() / new) > 0.5
    for a, b in zip(layer.target.get_weights(), target, strict=True):
        np.testing.assert_array_equal(a, b)


def test_scaling_is_by_returns_that_know_no_ends(compiled):
    """Against a loop over steps without ends; the first rollout counts for itself."""
    rng = np.random.default_rng(0)
    layer = constant_features([0.0, 0.0], [1.0, 0.0], gamma=0.9)
    bonus = rng.random((40, 3)).astype("f4")
    valid = rng.random((40, 3)) < 0.8
    never, running = np.zeros_like(valid), tf.zeros([3])
    expected, counted = np.zeros(3), np.zeros(0)
    scaled = compiled(layer.scaled)
    for rows in (slice(0, 20), slice(20, 40)):
        out, running = scaled(
            tf.constant(bonus[rows]), running, tf.constant(valid[rows])
        )
        expected, part = naive_returns(
            bonus[rows], never[rows], valid[rows], expected, 0.9
        )
        counted = np.concatenate([counted, part])
        np.testing.assert_allclose(running, expected, rtol=1e-5)
        np.testing.assert_allclose(out, bonus[rows] / counted.std(), rtol=1e-4)
    assert np.min(out) >= 0.0  # no mean is subtracted


def test_gamma_is_that_of_the_returns():
    layer = constant_features([0.0, 0.0], [1.0, 0.0], gamma=0.5)
    assert layer.reward_scaling.gamma == 0.5
    layer.gamma = 0.25
    assert layer.reward_scaling.gamma == 0.25


def test_a_share_of_the_rows_trains_the_predictor():
    layer = constant_features([0.0, 0.0], [1.0, 0.0], predictor_share=0.25)
    valid = tf.constant([True, False] * 20_000)
    chosen = layer.chosen(valid, tf.constant([3, 4])).numpy()
    assert not chosen[1::2].any()
    # 20 000 draws: a deviation of 0.003 in the share.
    assert chosen[::2].mean() == pytest.approx(0.25, abs=0.013)
    other = layer.chosen(valid, tf.constant([3, 5])).numpy()
    assert (chosen != other).any()
    layer.predictor_share = 1.0
    np.testing.assert_array_equal(layer.chosen(valid, NO_SEED), valid)


def test_observations_are_standardised_and_cut_at_five():
    layer = random_network_distillation(BOX, seed=0, priming_steps=5)
    assert not layer.is_primed()
    rng = np.random.default_rng(0)
    seen = rng.normal([0.0, 10.0, -3.0, 1e4], [1.0, 2.0, 0.1, 1e3], size=[4, 2, 4])
    valid = np.array([[True, True]] * 3 + [[False, False]])
    layer.update(seen.astype("f4"), tf.constant(valid))
    assert int(layer.seen) == 6
    assert layer.is_primed()
    rows = seen[valid]
    expected = (seen[3] - rows.mean(0)) / rows.std(0)
    x = seen[3].astype("f4")
    np.testing.assert_allclose(layer.normalized(x), np.clip(expected, -5, 5), rtol=2e-3)
    far = layer.normalized(np.full([1, 4], 1e9, "f4"))
    np.testing.assert_array_equal(far, [[5.0] * 4])


@pytest.mark.parametrize(
    ("space", "shape", "normalized"),
    [
        (spaces.Discrete(3, start=2), (), False),
        (spaces.MultiBinary(3), (3,), False),
        (spaces.Box(0, 255, [36, 36, 1], np.uint8), (36, 36, 1), True),
        (spaces.Box(-1, 1, [2, 3]), (2, 3), True),
    ],
    ids=str,
)
def test_spaces(space, shape, normalized):
    layer = random_network_distillation(space, hidden=(4,), num_features=3, seed=0)
    assert (layer.observation_normalizer is not None) == normalized
    space.seed(0)
    rows = np.stack([space.sample() for _ in range(5)])
    bonus = layer(rows)
    assert bonus.shape == (5,)
    assert bonus.dtype == tf.float32
    assert np.all(bonus.numpy() > 0.0)
    if normalized:
        layer.update(rows[:, None], tf.ones([5, 1], tf.bool))
        assert float(layer.observation_normalizer.count) == 5.0
        assert np.abs(layer.normalized(rows)).max() <= 5.0


def test_nested_spaces():
    space = spaces.Dict({"x": BOX, "index": spaces.Discrete(3)})
    layer = random_network_distillation(space, hidden=(4,), seed=0)
    rows = {"x": np.ones([2, 4], "f4"), "index": np.array([0, 2], "i4")}
    bonus = layer(rows)
    assert bonus.shape == (2,)
    assert float(bonus[0]) != float(bonus[1])


def test_saved_and_loaded_it_is_the_same(tmp_path):
    layer = random_network_distillation(BOX, seed=0, gamma=0.5, predictor_share=0.5)
    x = np.random.default_rng(0).normal(size=[6, 4]).astype("f4")
    layer.update(x[:, None], tf.ones([6, 1], tf.bool))
    inputs = keras.Input([4])
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "bonus.keras")
    loaded = keras.models.load_model(tmp_path / "bonus.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    again = loaded.layers[-1]
    for name, value in layer.get_config().items():
        if isinstance(value, float | int):
            assert again.get_config()[name] == value, name
    assert int(again.seen) == 6
    assert again.reward_scaling.gamma == 0.5
    assert not again.target.trainable


def test_half_precision_tells_what_is_new_from_what_is_known():
    """Features are compared in float32, whatever the layers before compute in."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = random_network_distillation(BOX, seed=0)
    finally:
        keras.config.set_dtype_policy("float32")
    full = random_network_distillation(BOX, seed=0)
    x = np.random.default_rng(0).normal(size=[32, 4]).astype("f4")
    np.testing.assert_allclose(half(x), full(x), rtol=0.1, atol=0.02)
    assert half(x).dtype == tf.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomNetworkDistillation(3, mlp((2,))), "`predictor` as a built"),
        (lambda: RandomNetworkDistillation(mlp((2,)), keras.Sequential()), "`target`"),
        (
            lambda: RandomNetworkDistillation(*[mlp((2,))] * 2),
            "`target` of its own.*different seeds",
        ),
        (lambda: RandomNetworkDistillation(mlp((2,)), mlp((2,), (8,))), "of one size"),
        (lambda: constant_features([1.0, 2.0], [1.0, 2.0]), "two networks of equal"),
        (lambda: constant_features([0, 1], [1, 0], gamma=1.5), "`gamma`"),
        (lambda: constant_features([0, 1], [1, 0], predictor_share=0), "`predictor_s"),
        (lambda: constant_features([0, 1], [1, 0], priming_steps=-1), "`priming_st"),
        (lambda: random_network_distillation(BOX, num_features=0), "`num_features`"),
        (lambda: random_network_distillation(BOX, hidden=(0,)), "`hidden`"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_normalizer_of_ones_own():
    layer = constant_features(
        [0.0, 4.0], [1.0, 2.0], observation_normalizer=RunningNormalization()
    )
    layer.update(np.float32([[[1.0]], [[3.0]]]), tf.ones([2, 1], tf.bool))
    np.testing.assert_allclose(layer.normalized(np.float32([[3.0]])), [[1.0]], 1e-5)
