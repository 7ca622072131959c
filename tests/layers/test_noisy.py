"""Tests of `kerasrl2.layers.noisy`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.distributions import sampling
from kerasrl2.layers import NoisyDense, seed_weights
from tests.harness import check_layer, xla_in_long_runs

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def noise(size, seed, counter):
    """`f(x) = sign(x) sqrt(|x|)` of the layer's draws, in NumPy."""
    draw = sampling.normal([size], tf.constant([seed, counter]), tf.float32).numpy()
    return np.where(draw < 0.0, -1.0, 1.0) * np.abs(draw) ** 0.5


def noise_only(inputs, units, seed):
    """A layer that returns its noise: means 0, sigmas 1."""
    layer = NoisyDense(units, seed=seed)
    layer.build([None, inputs])
    for weight, value in zip(layer.weights[:4], [0.0, 1.0, 0.0, 1.0], strict=True):
        weight.assign(tf.fill(weight.shape, value))
    return layer


def test_is_a_layer(tmp_path):
    def make(**arguments):
        keras.utils.set_random_seed(3)
        return NoisyDense(3, "relu", seed=1, **arguments)

    x = np.random.default_rng(0).normal(size=[4, 5]).astype("f4")
    output = check_layer(make, x, tmp_path)
    assert output.shape == (4, 3)
    assert np.all(output.numpy() >= 0.0)


def test_starts_as_the_paper_says():
    layer = NoisyDense(400, sigma=0.6)
    layer.build([None, 25])
    for mean in (layer.kernel.numpy(), layer.bias.numpy()):
        assert np.abs(mean).max() <= 0.2  # 1 / sqrt(25), fan-in for the bias as well
        assert np.abs(mean).max() > 0.19
        np.testing.assert_allclose(mean.mean(), 0.0, atol=0.02)
        np.testing.assert_allclose(mean.std(), 0.2 / 3**0.5, rtol=0.1)
    for sigma in (layer.kernel_sigma, layer.bias_sigma):
        np.testing.assert_allclose(sigma, 0.6 / 5.0, rtol=1e-6)
    names = ["kernel", "kernel_sigma", "bias", "bias_sigma", "noise_state"]
    assert [weight.name for weight in layer.weights] == names
    assert len(layer.trainable_weights) == 4


@xla_in_long_runs
def test_equations_by_hand(compiled):
    """Equations (10) and (11), with the layer's own draws."""
    layer = NoisyDense(3, activation="tanh", seed=5)
    x = np.random.default_rng(1).normal(size=[4, 2]).astype("f4")
    layer.build(x.shape)
    call = compiled(lambda x: layer(x, training=True))
    mean_kernel, sigma, mean_bias, bias_sigma = (w.numpy() for w in layer.weights[:4])
    for counter in range(2):
        eps = noise(5, 5, counter)
        kernel = mean_kernel + sigma * np.outer(eps[:2], eps[2:])
        bias = mean_bias + bias_sigma * eps[2:]
        np.testing.assert_allclose(call(x), np.tanh(x @ kernel + bias), atol=1e-5)
        assert layer.noise_state.numpy().tolist() == [5, counter + 1]
    np.testing.assert_allclose(
        layer(x), np.tanh(x @ mean_kernel + mean_bias), atol=1e-5
    )
    assert layer.noise_state.numpy().tolist() == [5, 2]  # no noise, no step


def test_noise_has_its_moments():
    """E f = 0, E f^2 = E|x| = sqrt(2/pi); weights: products of two."""
    layer, variance = noise_only(600, 400, seed=3), (2.0 / np.pi) ** 0.5
    outputs = layer(tf.eye(600), training=True).numpy()
    bias = layer.bias_sigma.numpy() * noise(1000, 3, 0)[600:]
    kernel = outputs - bias
    np.testing.assert_allclose((kernel**2).mean(), variance**2, rtol=0.1)
    assert abs(kernel.mean()) < 0.01
    assert np.linalg.matrix_rank(kernel[:30, :20], tol=1e-3) == 1  # factorised


def test_all_modes_draw_the_same_numbers(compiled):
    layer = noise_only(4, 3, seed=7)
    call = compiled(lambda x: layer(x, training=True))
    outputs = [call(tf.eye(4)[:1]).numpy() for _ in range(3)]
    eager = noise_only(4, 3, seed=7)
    expected = [eager(tf.eye(4)[:1], training=True).numpy() for _ in range(3)]
    np.testing.assert_allclose(outputs, expected, atol=1e-6)  # sums may be fused
    assert layer.noise_state.numpy().tolist() == [7, 3]
    assert not np.array_equal(outputs[0], outputs[1])
    draw = compiled(layer._next_noise)
    draws = [np.concatenate(draw()) for _ in range(100)]
    wanted = [noise(7, 7, counter) for counter in range(3, 103)]
    np.testing.assert_allclose(draws, wanted, rtol=1e-5)  # erfinv rounds differently
    np.testing.assert_array_equal(np.sign(draws), np.sign(wanted))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_compiled_loop_draws_what_single_calls_draw(jit_compile):
    x = tf.ones([1, 2])
    single, looped = noise_only(2, 2, seed=9), noise_only(2, 2, seed=9)

    @tf.function(jit_compile=jit_compile)
    def run():
        def body(i, total):
            return i + 1, total + looped(x, training=True)

        return tf.while_loop(lambda i, _: i < 5, body, (0, tf.zeros([1, 2])))[1]

    total = sum(single(x, training=True) for _ in range(5))
    np.testing.assert_allclose(run(), total, rtol=1e-6)
    assert looped.noise_state.numpy().tolist() == [9, 5]


def test_one_draw_for_the_whole_batch_and_all_leading_axes():
    layer = NoisyDense(3, seed=0)
    y = layer(np.ones([4, 2, 5], "f4"), training=True).numpy()
    assert y.shape == (4, 2, 3)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:1, :1], y.shape))


@xla_in_long_runs
def test_slopes_by_hand(compiled):
    """d y / d sigma_w = x f(eps_i) f(eps_j): the noise itself gets no gradient."""
    layer = NoisyDense(2, seed=4)
    x = tf.constant([[2.0]])
    layer.build(x.shape)
    call = compiled(lambda x: layer(x, training=True))
    variables = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        y = call(x)
    slopes = tape.gradient(y, variables)
    eps = noise(3, 4, 0)
    np.testing.assert_allclose(slopes[0], [[2.0, 2.0]])
    np.testing.assert_allclose(slopes[1], [2.0 * eps[0] * eps[1:]], rtol=1e-5)
    np.testing.assert_allclose(slopes[2], [1.0, 1.0])
    np.testing.assert_allclose(slopes[3], eps[1:], rtol=1e-5)


def test_a_saved_model_goes_on_with_the_next_noise(tmp_path):
    model = keras.Sequential([keras.Input([3]), NoisyDense(4), NoisyDense(2)])
    x = np.ones([1, 3], "f4")
    first = model(x, training=True)
    model.save(tmp_path / "noisy.keras")
    loaded = keras.models.load_model(tmp_path / "noisy.keras")
    following = model(x, training=True)
    np.testing.assert_array_equal(loaded(x, training=True), following)
    assert not np.array_equal(first, following)

    checkpoint = tf.train.Checkpoint(model=model)
    path = checkpoint.save(str(tmp_path / "checkpoint"))
    following = model(x, training=True).numpy()
    checkpoint.restore(path)
    np.testing.assert_array_equal(model(x, training=True), following)


def test_seeding():
    def noisy_model():
        return keras.Sequential(
            [keras.Input([3]), NoisyDense(4), keras.layers.Dense(4), NoisyDense(2)]
        )

    first, second = noisy_model(), noisy_model()
    assert first.layers[0].noise_state[0] != second.layers[0].noise_state[0]
    first(np.ones([1, 3]), training=True)
    seed_weights(first, 11)
    seed_weights(second, 11)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    seeds = [first.layers[i].noise_state.numpy().tolist() for i in (0, 2)]
    assert seeds[0][0] != seeds[1][0]
    assert [counter for _, counter in seeds] == [0, 0]
    assert not np.array_equal(first.layers[0].bias[:2], first.layers[2].bias)
    seed_weights(second, 12)
    assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])
    assert second.layers[0].noise_state[0] != seeds[0][0]

    keras.utils.set_random_seed(1)
    third = noisy_model()
    keras.utils.set_random_seed(1)
    for a, b in zip(third.get_weights(), noisy_model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_bias_and_without_noise():
    layer = NoisyDense(2, use_bias=False, sigma=0.0)
    x = np.ones([1, 3], "f4")
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
    assert len(layer.weights) == 3
    np.testing.assert_allclose(layer(x), x @ layer.kernel.numpy(), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_noises_in_float32(policy):
    layer = NoisyDense(3, dtype=policy, seed=1)
    output = layer(np.ones([2, 4], "f4"), training=True)
    assert output.dtype == policy.removeprefix("mixed_")
    exact = NoisyDense(3, seed=1)
    exact.build([2, 4])
    exact.set_weights([*layer.get_weights()[:4], np.int32([1, 0])])
    wanted = exact(np.ones([2, 4], "f4"), training=True)
    np.testing.assert_allclose(tf.cast(output, tf.float32), wanted, atol=0.03)


def test_bad_input():
    with pytest.raises(ValueError, match="`units`"):
        NoisyDense(0)
    with pytest.raises(ValueError, match="`sigma`"):
        NoisyDense(2, sigma=-0.1)
    for seed in (-1, 2**31):
        with pytest.raises(ValueError, match="`seed`"):
            NoisyDense(2, seed=seed)
    layer = NoisyDense(2)
    layer.build([None, 3])
    with pytest.raises(ValueError, match="min_ndim"):
        layer(np.zeros([3]))
