"""Tests of `kerasrl2.layers.RandomFourierFeatures`."""

import keras
import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.agents import PPO
from kerasrl2.layers import RandomFourierFeatures, seed_weights
from tests.harness import check_layer

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def test_is_a_layer(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
    output = check_layer(
        lambda **k: RandomFourierFeatures(5, (2.0, 1.0), seed=1, **k), x, tmp_path
    )
    assert output.shape == (4, 10)


def test_the_formula_by_loops():
    layer = RandomFourierFeatures(3, (5.0, 0.5), seed=0)
    x = np.random.default_rng(0).normal(size=(2, 2)).astype("f4")
    z = layer(x).numpy()
    w, b = layer.kernel.numpy(), layer.bias.numpy()
    for row in range(2):
        for column in range(6):
            width = np.sqrt(2 * (5.0 if column < 3 else 0.5))
            angle = width * (x[row] @ w[:, column]) + b[column]
            expected = np.sqrt(2 / 3) * np.cos(angle)
            assert z[row, column] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("gamma", [5.0, 2.0, 1.0, 0.5])
def test_inner_products_are_gaussian_kernels(gamma):
    """At `D` 10 000 a product has deviation below 0.01: 0.03 is three of them."""
    layer = RandomFourierFeatures(10_000, (gamma,), seed=3)
    x = np.float32([[0.3, -0.2], [0.3, 0.8], [0.9, 0.6]])  # 1 from each other
    z = layer(x).numpy()
    kernel = z @ z.T
    distance = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.testing.assert_allclose(distance[0], [0.0, 1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(kernel, np.exp(-gamma * distance), atol=0.03)
    if gamma == 1.0:
        assert kernel[0, 1] == pytest.approx(0.367879, abs=0.03)


def test_weights_have_the_moments_of_the_paper():
    layer = RandomFourierFeatures(20_000, (2.0,), seed=0)
    layer.build((None, 2))
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    # 40 000 normal numbers: the variance's deviation is 0.007.
    assert kernel.var() == pytest.approx(1.0, abs=0.03)  # times 2 gamma in `call`
    assert abs(kernel.mean()) < 0.02
    assert 0.0 <= bias.min() < bias.max() <= 2 * np.pi
    assert bias.mean() == pytest.approx(np.pi, abs=0.05)
    assert abs(np.corrcoef(kernel[0], bias)[0, 1]) < 0.03
    assert layer.trainable_weights == []


def test_seeds():
    x = np.ones([1, 2], "f4")
    first, again, other = (
        RandomFourierFeatures(4, seed=s)(x).numpy() for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    model = keras.Sequential([keras.Input([2]), RandomFourierFeatures(4)])
    seed_weights(model, 5)
    drawn = model(x).numpy()
    assert (model(x * 0.5).numpy() != drawn).any()
    seed_weights(model, 6)
    assert (model(x).numpy() != drawn).any()
    seed_weights(model, 5)
    np.testing.assert_array_equal(model(x), drawn)


@pytest.mark.long
def test_a_linear_critic_on_them_in_an_agent(tmp_path):
    inputs = keras.Input([4])
    features = RandomFourierFeatures(10)(inputs)
    outputs = [keras.layers.Dense(2)(features), keras.layers.Dense(1)(features)]
    agent = PPO.for_env(
        "CartPole-v1", network=keras.Model(inputs, outputs), xla=False, seed=0,
        normalize_observations=True, num_envs=2, rollout_length=16, batch_size=16,
    )  # fmt: skip
    assert len(agent.trainable_variables) == 4
    before = agent.network.layers[1].get_weights()
    agent.fit("CartPole-v1", steps=64, epochs=1, verbose=0)
    for a, b in zip(agent.network.layers[1].get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    x = np.random.default_rng(0).normal(size=[5, 4]).astype("f4")
    for ours, theirs in zip(agent(x), loaded(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_features": 0}, "`num_features`"),
        ({"gammas": ()}, "`gammas` as a sequence"),
        ({"gammas": 1.0}, "`gammas` as a sequence"),
        ({"gammas": (1.0, 0.0)}, "`gammas`"),
        ({"gammas": (1.0, float("inf"))}, "`gammas`"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomFourierFeatures(**arguments)
