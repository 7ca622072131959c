"""Tests of gradients that are computed in parts of a minibatch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import A2C, DQN, PPO
from kerasrl2.agents.accumulation import accumulate
from kerasrl2.types import Gradients, OnPolicyBatch, Transition
from tests.agents.harness import SEED

NO_SEED = tf.constant([0, 0])
SMALL = {"hidden": (4,), "seed": 0, "xla": False}


def of_square(w, *unused):
    """`of_part` of mean (w x)^2, and a function of rows that count."""

    def of_part(x, seed):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((w * x) ** 2)
        slopes = tape.gradient(loss, [w, *unused])
        slopes = [tf.zeros([]) if slope is None else slope for slope in slopes]
        return Gradients(loss, tf.zeros([]), slopes, {"x": x, "top": tf.reduce_max(x)})

    return of_part


def rows_of(x):
    return x.shape[0]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_by_hand(compiled, steps):
    """systems.md 000-07: slope 15, w = -0.5; of parts 3, 1 the shares are 3/4, 1/4.

    Parts of two have slopes 5 and 25, whose sum is 30 and whose mean is 15.
    """
    x, w = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.Variable(1.0)

    def run(x):
        found = accumulate(of_square(w), x, lambda i: NO_SEED, rows_of, steps)
        return found.loss, found.norm, found.values[0], found.metrics["x"]

    loss, norm, slope, rows = compiled(run)(x)
    assert float(loss) == pytest.approx(7.5, abs=1e-6)
    assert float(norm) == float(slope) == pytest.approx(15.0, abs=1e-6)
    np.testing.assert_array_equal(rows, x)
    optimizer = keras.optimizers.SGD(0.1)
    weight = keras.Variable(1.0)
    optimizer.build([weight])
    optimizer.apply([slope], [weight])
    assert float(weight) == pytest.approx(-0.5, abs=1e-6)


def test_what_a_loss_does_not_depend_on_gets_zeros():
    w, unused = tf.Variable(1.0), tf.Variable(3.0)
    x = tf.constant([1.0, 2.0, 3.0, 4.0])
    part = of_square(w, unused)
    found = accumulate(part, x, lambda i: NO_SEED, rows_of, 2)
    assert [float(value) for value in found.values] == [15.0, 0.0]


def test_each_part_has_a_seed_of_its_own():
    def of_part(x, seed):
        number = tf.cast(seed[1], tf.float32) * tf.ones_like(x)
        return Gradients(tf.zeros([]), tf.zeros([]), [tf.zeros([])], {"seed": number})

    found = accumulate(
        of_part, tf.zeros([5]), lambda i: NO_SEED + tf.stack([0, i]), rows_of, 3
    )
    assert found.metrics["seed"].numpy().tolist() == [0, 0, 1, 1, 2]


def test_fewer_rows_than_parts():
    with pytest.raises(ValueError, match="3 rows, accumulation_steps=4"):
        accumulate(of_square(tf.Variable(1.0)), tf.zeros([3]), None, rows_of, 4)


def agents_of(kind, steps, **settings):
    """The same agent twice, one of which accumulates."""
    settings = {**SMALL, **settings}
    plain = kind.for_env("CartPole-v1", **settings)
    return plain, kind.for_env("CartPole-v1", accumulation_steps=steps, **settings)


def on_policy_batch(rows, invalid=()):
    """A batch whose invalid rows, not evenly spread, are NaN-free rubbish."""
    rng = np.random.default_rng(0)
    valid = ~np.isin(np.arange(rows), invalid)

    def numbers(*shape):
        return tf.constant(rng.normal(size=[rows, *shape]), tf.float32)

    return OnPolicyBatch(
        observation=numbers(4),
        action=tf.constant(rng.integers(0, 2, rows), tf.int32),
        log_prob=numbers() - 1.0,
        value=numbers(),
        advantage=10.0 * numbers() + np.where(valid, 0.0, 99.0),
        target=numbers(),
        valid=tf.constant(valid),
    )


def transitions(rows):
    rng = np.random.default_rng(1)
    return Transition(
        observation=tf.constant(rng.normal(size=[rows, 4]), tf.float32),
        action=tf.constant(rng.integers(0, 2, rows), tf.int32),
        reward=tf.constant(rng.normal(size=rows), tf.float32),
        discount=tf.constant(np.where(rng.random(rows) < 0.3, 0.0, 0.9), tf.float32),
        next_observation=tf.constant(rng.normal(size=[rows, 4]), tf.float32),
        weight=tf.constant(rng.uniform(0.1, 1.0, rows), tf.float32),
    )


def assert_equal_gradients(first, second, batch, compiled):
    """Gradients, norm and all metrics, of two agents."""
    found = [
        compiled(lambda b, agent=agent: tuple(agent.compute_gradients(b, SEED)))(batch)
        for agent in (first, second)
    ]
    (loss, norm, values, metrics), (other, other_norm, others, more) = found
    np.testing.assert_allclose(loss, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm, other_norm, rtol=1e-5)
    for a, b in zip(values, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert set(metrics) == set(more)
    for name in metrics:
        np.testing.assert_allclose(metrics[name], more[name], 1e-4, 1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("kind", "steps", "invalid"),
    [
        (PPO, 5, (0, 1, 2, 5, 11)),
        *(
            pytest.param(kind, steps, invalid, marks=pytest.mark.long)
            for kind in (PPO, A2C)
            for steps in (3, 5)
            for invalid in ((), (0, 1, 2, 5, 11))
        ),
    ],
)
def test_actor_critics(kind, steps, invalid, compiled):
    """Advantages normalised over the minibatch, means over its valid rows."""
    settings = {"normalize_advantages": True, "entropy_coefficient": 0.1}
    pair = agents_of(kind, steps, **settings)
    assert_equal_gradients(*pair, on_policy_batch(12, invalid), compiled)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"double": True}, 5),
        pytest.param({"double": True}, 4, marks=pytest.mark.long),
        pytest.param({"noisy": True}, 5, marks=pytest.mark.long),
        pytest.param(
            {"distribution": "categorical", "value_range": (-5.0, 5.0)},
            5,
            marks=pytest.mark.long,
        ),
    ],
)
def test_q_learning(settings, steps, compiled):
    """Importance weights are of rows; so are the TD errors, in the batch's order."""
    pair = agents_of(DQN, steps, **settings)
    assert_equal_gradients(*pair, transitions(16), compiled)


def test_no_row_that_counts():
    """Only what layers have of their own is left, once, not once a part."""
    plain, parts = agents_of(A2C, 3, normalize_advantages=True)
    batch = on_policy_batch(6, range(6))
    assert_equal_gradients(plain, parts, batch, lambda function: function)


@pytest.mark.long
def test_losses_of_layers_count_once(compiled):
    def network():
        inputs = keras.Input([4])
        hidden = keras.layers.Dense(
            3, kernel_regularizer="l2", kernel_initializer=keras.initializers.Ones()
        )(inputs)
        outputs = keras.layers.Dense(2, "tanh")(hidden), hidden[:, 0]
        return keras.Model(inputs, outputs)

    first = network()
    second = network()
    second.set_weights(first.get_weights())
    made = [
        A2C.for_env("CartPole-v1", network=net, accumulation_steps=steps, **SMALL)
        for net, steps in ((first, 1), (second, 4))
    ]
    assert_equal_gradients(*made, on_policy_batch(12), compiled)
    assert "regularization" in made[1].report_names


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (A2C, {"normalize_advantages": True, "num_envs": 2}),
        pytest.param(
            PPO,
            {"num_envs": 2, "rollout_length": 16, "batch_size": 16, "num_epochs": 2},
            marks=pytest.mark.long,
        ),
        pytest.param(
            DQN, {"learning_starts": 16, "prioritized": True}, marks=pytest.mark.long
        ),
    ],
)
@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.long)])
def test_whole_runs(kind, settings, xla):
    """Clipped, with Adam at 1e-3: rounding is all that differs after 20 steps."""
    optimizers = [keras.optimizers.Adam(1e-3) for _ in range(2)]
    settings = {**settings, "max_gradient_norm": 0.1, "xla": xla}
    plain, parts = agents_of(kind, 3, **settings)
    for agent, optimizer in zip((plain, parts), optimizers, strict=True):
        agent.compile(optimizer)
        agent.fit("CartPole-v1", steps=64, epochs=1, verbose=0)
    assert int(parts.optimizer.iterations) == int(plain.optimizer.iterations) > 3
    for a, b in zip(plain.weights, parts.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5, err_msg=a.path)


class OwnLoss(A2C):
    """Normalises for itself, once more."""

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        again = self.normalized_advantages(batch.advantage, batch.valid)
        value = tf.reshape(self(batch.observation)[1], again.shape)
        return loss + tf.reduce_mean(again**2 * value), metrics


class OwnNormalisation(A2C):
    """Divides by the largest advantage of the minibatch, and by two."""

    def normalized_advantages(self, advantage, valid):
        return 0.5 * advantage / tf.reduce_max(tf.abs(advantage))


@pytest.mark.parametrize("kind", [OwnLoss, OwnNormalisation])
def test_what_needs_all_rows_is_done_once_for_all(kind):
    settings = {**SMALL, "normalize_advantages": True}
    made = [
        kind.for_env("CartPole-v1", accumulation_steps=steps, **settings)
        for steps in (1, 3)
    ]
    assert_equal_gradients(*made, on_policy_batch(12), lambda function: function)


class TestKerasOwnAccumulation:
    """Where Keras' optimizers accumulate: equal parts, and clipping left to them."""

    def optimizer(self, **more):
        return keras.optimizers.SGD(0.1, gradient_accumulation_steps=2, **more)

    def test_clipping_each_part_is_refused(self):
        with pytest.raises(ValueError, match=r"max_gradient_norm=None.*_steps=2"):
            A2C.for_env("CartPole-v1", optimizer=self.optimizer(), **SMALL)
        agent = A2C.for_env("CartPole-v1", **SMALL)
        agent.compile(self.optimizer())
        with pytest.raises(ValueError, match="global_clipnorm"):
            agent.update(on_policy_batch(4), SEED)

    @pytest.mark.long
    def test_two_rollouts_are_one_step(self, compiled):
        agent = A2C.for_env(
            "CartPole-v1", optimizer=self.optimizer(), max_gradient_norm=None, **SMALL
        )
        batch = on_policy_batch(8)
        halves = [
            tf.nest.map_structure(lambda x, i=i: x[i : i + 4], batch) for i in (0, 4)
        ]
        slopes = [agent.compute_gradients(half, SEED).values for half in halves]
        before = [variable.numpy() for variable in agent.trainable_variables]
        update = compiled(lambda batch: agent.update(batch, SEED)[0]["loss"])
        update(halves[0])
        for a, b in zip(before, agent.trainable_variables, strict=True):
            np.testing.assert_array_equal(a, b)
        assert int(agent.optimizer.iterations) == 0
        update(halves[1])
        assert int(agent.optimizer.iterations) == 1
        for a, b, first, second in zip(
            before, agent.trainable_variables, *slopes, strict=True
        ):
            np.testing.assert_allclose(a - 0.05 * (first + second), b, 1e-5, 1e-6)

    @pytest.mark.long
    def test_a_run_goes_on_in_the_middle(self, tmp_path):
        """After 10 updates, in steps of 4: two gradients wait in the checkpoint."""

        def run(steps, epochs, **options):
            optimizer = keras.optimizers.Adam(1e-3, gradient_accumulation_steps=4)
            agent = A2C.for_env(
                "CartPole-v1", optimizer=optimizer, max_gradient_norm=None,
                num_envs=2, rollout_length=5, **SMALL,
            )  # fmt: skip
            agent.fit("CartPole-v1", steps=steps, epochs=epochs, verbose=0, **options)
            return agent

        whole, kept = run(200, 4), {"checkpoint_dir": tmp_path, "resume": True}
        first = run(100, 2, **kept)
        assert int(first.optimizer.iterations) == 2
        resumed = run(200, 4, **kept)
        assert int(resumed.optimizer.iterations) == 5
        for a, b in zip(
            [*whole.weights, *whole.optimizer.variables],
            [*resumed.weights, *resumed.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.parametrize("kind", [A2C, PPO, DQN])
def test_bad_numbers(kind):
    for steps in (0, 1.5):
        with pytest.raises(ValueError, match="`accumulation_steps` to be an integer"):
            kind.for_env("CartPole-v1", accumulation_steps=steps, **SMALL)


def test_more_parts_than_rows():
    agent = A2C.for_env("CartPole-v1", num_envs=1, accumulation_steps=6, **SMALL)
    with pytest.raises(ValueError, match="5 rows, accumulation_steps=6"):
        agent.fit("CartPole-v1", steps=5, verbose=0)


def test_a_loss_function_without_a_batch():
    agent = A2C.for_env("CartPole-v1", accumulation_steps=2, **SMALL)
    with pytest.raises(ValueError, match=r"`gradient_step`.*Received: 2"):
        agent.gradient_step("optimizer", lambda: (tf.zeros([]), {}))


def test_saved_with_the_agent(tmp_path):
    from kerasrl2 import load_agent

    agent = DQN.for_env(envs.make("CartPole-v1"), accumulation_steps=4, **SMALL)
    agent.save(tmp_path / "agent.keras")
    assert load_agent(tmp_path / "agent.keras").accumulation_steps == 4
