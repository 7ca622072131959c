"""REINFORCE and the Gaussian pseudo-loss from parts, trained by Keras or by a tape."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.distributions import DiagonalGaussian
from kerasrl2.losses import (
    PolicyGradientLoss,
    categorical_log_prob,
    policy_gradient_loss,
)
from kerasrl2.returns import discounted_returns
from kerasrl2.statistics import standardized

PROBABILITIES = np.array([[0.7, 0.3], [0.2, 0.8]], np.float32)
ACTIONS, RETURNS = np.array([0, 1]), np.array([1.0, 2.0], np.float32)


class TestCrossEntropy:
    """systems.md 002-02: weighted with returns, it is the loss of REINFORCE."""

    @staticmethod
    def compiled(loss):
        """A model whose output for row `i` is `log PROBABILITIES[i]`."""
        network = keras.Sequential(
            [keras.Input([2]), keras.layers.Dense(2, use_bias=False)]
        )
        network.layers[0].kernel.assign(np.log(PROBABILITIES))
        network.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=False)
        return network

    @pytest.mark.parametrize(
        ("loss", "expected"),
        [
            (PolicyGradientLoss(), 0.401481),
            (
                keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, reduction="sum_over_batch_size"
                ),
                0.401481,
            ),
            (
                keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, reduction="mean_with_sample_weight"
                ),
                0.267654,
            ),
        ],
        ids=["ours", "keras", "keras by weight"],
    )
    def test_train_on_batch(self, loss, expected):
        logits = np.log(PROBABILITIES)
        direct = loss(ACTIONS, logits, sample_weight=RETURNS)
        assert float(direct) == pytest.approx(expected, abs=1e-6)
        network = self.compiled(loss)
        inputs = np.eye(2, dtype=np.float32)
        reported = network.train_on_batch(inputs, ACTIONS, sample_weight=RETURNS)
        assert float(np.ravel(reported)[0]) == pytest.approx(expected, abs=1e-6)
        # -G (1 - p) of the action taken, over the batch: what one gets is the other's.
        slope = np.array([[-0.3, 0.3], [2 * 0.2, -2 * 0.2]]) / 2
        slope *= expected / 0.401481
        moved = network.get_weights()[0] - logits
        np.testing.assert_allclose(moved, -0.1 * slope, atol=1e-5)

    def test_returns_are_the_weights(self):
        ended = [False, False, True]
        returns = discounted_returns([1, 2, 3], [0.5, 0.5, 0.0], ended, [0.0] * 3)
        np.testing.assert_allclose(returns, [2.75, 3.5, 3.0])

    @pytest.mark.parametrize("returns", [[3.0, 3.0], [0.1, 0.1]])
    def test_constant_returns_move_nothing(self, returns):
        network = self.compiled(PolicyGradientLoss())
        before = network.get_weights()[0]
        weights = np.asarray(standardized(returns))
        loss = network.train_on_batch(
            np.eye(2, dtype=np.float32), ACTIONS, sample_weight=weights
        )
        assert float(np.ravel(loss)[0]) == 0.0
        np.testing.assert_array_equal(network.get_weights()[0], before)

    def test_what_the_published_code_did(self):
        """Returns as targets: the gradient does not know what was done."""
        logits = tf.Variable(np.log(PROBABILITIES))
        with tf.GradientTape() as tape:
            targets = tf.repeat(RETURNS[:, None], 2, axis=1)
            outputs = tf.nn.softmax(logits)
            loss = keras.losses.categorical_crossentropy(targets, outputs)
        found = tape.gradient(loss, logits)
        wrong = -RETURNS[:, None] * (1.0 - 2.0 * PROBABILITIES)
        np.testing.assert_allclose(found, wrong, atol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class Learner(keras.Model):
    """A policy whose `train_step` takes episodes: observations, actions, returns."""

    def __init__(self, network):
        super().__init__()
        self.network, self.traces = network, 0

    def call(self, observation):
        return self.network(observation)

    def train_step(self, data):
        self.traces += 1
        observation, action, returns = data
        with tf.GradientTape() as tape:
            log_prob = categorical_log_prob(self.network(observation), action)
            loss = tf.reduce_mean(policy_gradient_loss(log_prob, returns))
        weights = self.network.trainable_variables
        gradients = tape.gradient(loss, [w.value for w in weights])
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}


class TestThreeWays:
    """systems.md 002-04: `sample_weight`, a tape, a `train_step`; 100 episodes."""

    @staticmethod
    def network():
        keras.utils.set_random_seed(0)
        layers = [
            keras.Input([4]),
            keras.layers.Dense(8, "tanh"),
            keras.layers.Dense(2),
        ]
        return keras.Sequential(layers)

    @staticmethod
    def episodes():
        """Of 1 to 12 steps."""
        rng = np.random.default_rng(0)
        for _ in range(100):
            length = int(rng.integers(1, 13))
            yield (
                rng.normal(size=[length, 4]).astype(np.float32),
                rng.integers(0, 2, length).astype(np.int32),
                rng.normal(size=length).astype(np.float32),
            )

    def data_set(self):
        """Batches of any length have one signature, so that one trace does."""
        shapes = ([None, 4], tf.float32), ([None], tf.int32), ([None], tf.float32)
        signature = tuple(tf.TensorSpec(*spec) for spec in shapes)
        made = tf.data.Dataset.from_generator(self.episodes, output_signature=signature)
        return made.apply(tf.data.experimental.assert_cardinality(100))

    @pytest.mark.long
    def test_give_the_same_weights(self):
        traces = {"loss": 0, "tape": 0}

        class Counting(PolicyGradientLoss):
            def call(self, y_true, y_pred):
                traces["loss"] += 1
                return super().call(y_true, y_pred)

        weighted = self.network()
        weighted.compile(
            keras.optimizers.Adam(0.01), loss=Counting(), jit_compile=False
        )
        weighted.optimizer.build(
            weighted.trainable_variables
        )  # else it is traced twice
        weighted.fit(self.data_set(), shuffle=False, verbose=0)

        taped, optimizer = self.network(), keras.optimizers.Adam(0.01)
        optimizer.build(taped.trainable_variables)

        @tf.function(input_signature=self.data_set().element_spec)
        def step(observation, action, returns):
            traces["tape"] += 1
            with tf.GradientTape() as tape:
                log_prob = categorical_log_prob(taped(observation), action)
                loss = tf.reduce_mean(policy_gradient_loss(log_prob, returns))
            weights = taped.trainable_variables
            gradients = tape.gradient(loss, [w.value for w in weights])
            optimizer.apply(gradients, weights)

        for episode in self.episodes():
            step(*episode)

        own = Learner(self.network())
        own.compile(keras.optimizers.Adam(0.01), jit_compile=False)
        own.optimizer.build(own.network.trainable_variables)
        own.fit(self.data_set(), shuffle=False, verbose=0)

        assert {**traces, "own": own.traces} == {"loss": 1, "tape": 1, "own": 1}
        before = self.network().get_weights()
        results = zip(
            before, weighted.get_weights(), taped.get_weights(),
            own.network.get_weights(), strict=True,
        )  # fmt: skip
        for first, a, b, c in results:
            assert np.abs(a - first).max() > 0.1
            np.testing.assert_allclose(a, b, atol=1e-6)
            np.testing.assert_allclose(a, c, atol=1e-6)

    @pytest.mark.long
    def test_so_does_train_on_batch(self):
        """Keras traces a second time when the length first changes, then no more."""
        traces = []

        class Counting(PolicyGradientLoss):
            def call(self, y_true, y_pred):
                traces.append(y_pred.shape)
                return super().call(y_true, y_pred)

        one, other = self.network(), self.network()
        one.compile(keras.optimizers.Adam(0.01), loss=Counting(), jit_compile=False)
        for observation, action, returns in self.episodes():
            one.train_on_batch(observation, action, sample_weight=returns)
        assert len(set(traces)) == 2  # of the first length, and of any
        assert len(traces) <= 3, traces  # Keras calls it once to build its metrics
        other.compile(
            keras.optimizers.Adam(0.01), loss=PolicyGradientLoss(), jit_compile=False
        )
        other.fit(self.data_set(), shuffle=False, verbose=0)
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.fixture(scope="module")
def example():
    """`examples/gaussian_actor.py`."""
    path = Path(__file__).parents[2] / "examples" / "gaussian_actor.py"
    spec = importlib.util.spec_from_file_location("gaussian_actor", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestGaussianActor:
    """systems.md 002-03."""

    @pytest.mark.parametrize(
        ("action", "log_prob", "slope"), [(6.0, -18.918939, 6.0), (0.0, -0.918939, 0.0)]
    )
    def test_log_probability_far_out(self, action, log_prob, slope):
        """The seed's `log(pdf + 1e-5)` gives -11.512 and 0.0036 at six deviations."""
        head, mean = DiagonalGaussian([None], [None]), tf.Variable(0.0)
        with tf.GradientTape() as tape:
            found = head.log_prob([[mean, 0.0]], [[action]])
        assert float(found[0]) == pytest.approx(log_prob, abs=1e-5)
        assert float(tape.gradient(found, mean)) == pytest.approx(slope, abs=1e-5)

    def test_reward_and_first_deviation(self, example):
        rewards = example.reward_of(np.float32([0.0, 3.75, 4.2, 4.5]))
        np.testing.assert_allclose(rewards, [0.0625, 1.0, 1.0, 0.5], rtol=1e-6)
        network = example.build_network()
        bias = float(network.get_layer("deviation").bias.value[0])
        assert bias == pytest.approx(0.541325, abs=1e-6)
        network.get_layer("deviation").kernel.assign(np.zeros([5, 1]))
        log_deviation = network(np.ones([1, 1], "f4"))[0, 1]
        assert float(log_deviation) == pytest.approx(0.0, abs=1e-6)

    @pytest.mark.learning
    def test_finds_the_target(self, example):
        """In at least 4 of 5 seeds; a deviation may shrink before it is there."""
        found = []
        for seed in range(5):
            rows = example.train(10_000, seed)
            mean, deviation = rows[-1, :2]
            reward = rows[-100:, 3].mean()
            found.append((mean, deviation, reward))
        good = [abs(m - 4) <= 0.35 and d < 0.1 and r >= 0.85 for m, d, r in found]
        assert sum(good) >= 4, found
