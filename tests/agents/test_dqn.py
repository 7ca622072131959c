"""Tests of `DQN`: targets and updates by hand, its losses, its whole family."""

import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2 import losses
from kerasrl2.agents import DQN
from kerasrl2.layers import RunningNormalization
from kerasrl2.types import Transition
from tests.agents.harness import SEED
from tests.agents.q_learning import linear_network, make_linear, transitions
from tests.training.worlds import Scripted

FAMILY = {
    "dqn": {},
    "double": {"double": True},
    "dueling": {"dueling": True},
    "noisy": {"noisy": True},
    "c51": {"distribution": "categorical", "num_atoms": 5},
    "qr": {"distribution": "quantile", "num_atoms": 5},
    "iqn": {"distribution": "implicit_quantile", "num_atoms": 5},
    "munchausen": {"munchausen": 0.9},
    "prioritized": {"prioritized": True, "n_step": 3},
}


class TestByHand:
    """Systems 000-01 and 000-02: online values [3, 1], target values [2, 5]."""

    BATCH = Transition(
        observation=tf.constant([[1.0, 0.0]]),
        action=tf.constant([0]),
        reward=tf.constant([1.0]),
        discount=tf.constant([0.9]),
        next_observation=tf.constant([[0.0, 1.0]]),
        weight=tf.constant([0.5]),
    )
    ONLINE, TARGET = [[3.0, 7.0], [3.0, 1.0]], [[0.0, 0.0], [2.0, 5.0]]

    @pytest.mark.parametrize(
        ("double", "discount", "target"),
        [(False, 0.9, 5.5), (True, 0.9, 2.8), (False, 0.0, 1.0)],
    )
    def test_target(self, double, discount, target):
        agent = make_linear(self.ONLINE, self.TARGET, double=double)
        batch = self.BATCH._replace(discount=tf.constant([discount]))
        assert float(agent.targets(batch)[0]) == pytest.approx(target)

    def test_one_update(self):
        """Error 5.5 - 3: slope 1 (Huber) times weight 0.5 times rate 0.1."""
        agent = make_linear(self.ONLINE, self.TARGET, tau=0.5, target_update_interval=2)
        metrics, td_error = agent.update(self.BATCH, SEED)
        assert float(metrics["loss"]) == pytest.approx(0.5 * 2.0)
        assert float(metrics["td_error"]) == pytest.approx(2.5)
        assert td_error.numpy().tolist() == pytest.approx([2.5])
        assert float(metrics["q_value"]) == 3.0
        assert float(metrics["gradient_norm"]) == pytest.approx(0.5)
        kernel = agent.q_network.get_weights()[0]
        np.testing.assert_allclose(kernel, [[3.05, 7.0], [3.0, 1.0]], rtol=1e-6)
        moved = agent.target_network.get_weights()[0]
        np.testing.assert_array_equal(moved, self.TARGET)
        agent.update(self.BATCH, SEED)  # now the target moves half way
        kernel = agent.q_network.get_weights()[0]
        moved = agent.target_network.get_weights()[0]
        expected = 0.5 * (np.array(self.TARGET) + kernel)
        np.testing.assert_allclose(moved, expected, rtol=1e-6)

    def test_squared_loss(self):
        values = krl.action_values.ScalarValues("squared")
        agent = make_linear(self.ONLINE, self.TARGET, action_values=values)
        metrics, _ = agent.update(self.BATCH, SEED)
        assert float(metrics["loss"]) == pytest.approx(0.5 * 2.5**2 / 2)
        assert agent.q_network.get_weights()[0][0, 0] == pytest.approx(3.0 + 0.125)

    def test_no_error_moves_nothing(self):
        agent = make_linear(self.ONLINE, self.TARGET)
        batch = self.BATCH._replace(reward=tf.constant([-1.5]))
        agent.update(batch, SEED)
        np.testing.assert_array_equal(agent.q_network.get_weights()[0], self.ONLINE)

    def test_a_hard_copy_is_exact(self):
        agent = make_linear(self.ONLINE, self.TARGET, target_update_interval=1)
        agent.update(self.BATCH, SEED)
        pairs = zip(agent.q_network.weights, agent.target_network.weights, strict=True)
        for online, target in pairs:
            np.testing.assert_array_equal(online, target)

    def test_gradients_are_clipped_and_their_norm_is_reported(self):
        """`test_one_update` with half of its gradient."""
        agent = make_linear(self.ONLINE, self.TARGET, max_gradient_norm=0.25)
        metrics, _ = agent.update(self.BATCH, SEED)
        assert float(metrics["gradient_norm"]) == pytest.approx(0.5)
        kernel = agent.q_network.get_weights()[0]
        np.testing.assert_allclose(kernel, [[3.025, 7.0], [3.0, 1.0]], rtol=1e-6)


class TestAgainstTheLosses:
    """The agent's targets and errors are those of the published functions."""

    @pytest.fixture
    def kernels(self):
        rng = np.random.default_rng(1)
        return rng.normal(size=(2, 3, 4)).astype(np.float32)

    @pytest.mark.parametrize("double", [False, True])
    def test_td_error(self, kernels, double, compiled):
        batch, agent = transitions(), make_linear(*kernels, double=double)
        metrics = compiled(lambda batch: agent.compute_loss(batch, SEED)[1])(batch)
        q, following = (batch[i] @ kernels[0] for i in (0, 4))
        target = batch.next_observation @ kernels[1]
        step = batch.action, batch.reward, batch.discount
        if double:
            expected = losses.double_q_td_error(q, *step, following, target)
        else:
            expected = losses.q_learning_td_error(q, *step, target)
        np.testing.assert_allclose(metrics["td_error"], expected, rtol=1e-4, atol=1e-5)

    def test_munchausen(self, kernels, compiled):
        agent = make_linear(*kernels, munchausen=0.7, temperature=0.3)
        batch = transitions()
        metrics = compiled(lambda batch: agent.compute_loss(batch, SEED)[1])(batch)
        expected = losses.munchausen_td_error(
            batch.observation @ kernels[0], batch.action, batch.reward, batch.discount,
            batch.observation @ kernels[1], batch.next_observation @ kernels[1],
            temperature=0.3, scale=0.7,
        )  # fmt: skip
        np.testing.assert_allclose(metrics["td_error"], expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", ["dqn", "double", "c51", "qr", "munchausen"])
    def test_rows_do_not_see_each_other(self, name):
        env = Scripted([2, 3])
        agent = DQN.for_env(env, hidden=(8,), seed=0, xla=False, **FAMILY[name])
        agent.target_network.set_weights(
            [w + 0.1 for w in agent.target_network.get_weights()]
        )
        batch = transitions(actions=2)
        whole = agent.compute_loss(batch, SEED)[1]["td_error"].numpy()
        order = np.random.default_rng(2).permutation(16)
        shuffled = tf.nest.map_structure(lambda x: tf.gather(x, order), batch)
        errors = agent.compute_loss(shuffled, SEED)[1]["td_error"]
        np.testing.assert_allclose(errors, whole[order], rtol=1e-5, atol=1e-6)
        for i in (0, 7):
            one = tf.nest.map_structure(lambda x, i=i: x[i : i + 1], batch)
            alone = agent.compute_loss(one, SEED)[1]["td_error"]
            np.testing.assert_allclose(alone, whole[i : i + 1], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", FAMILY)
    def test_actions_not_taken_get_no_gradient(self, name):
        agent = DQN.for_env(
            "Chain-5", hidden=(8,), seed=0, xla=False, dueling=False,
            **{k: v for k, v in FAMILY[name].items() if k != "dueling"},
        )  # fmt: skip
        values, network = agent.action_values, agent.q_network
        observation, action = tf.eye(5), tf.constant([0, 1, 1, 0, 1])
        with tf.GradientTape() as tape:
            outputs = values.read(network, observation, False, tf.constant([0, 1]))
            tape.watch(outputs)
            best = tf.one_hot(action, 2)
            target = values.target(outputs, best, tf.ones(5), tf.fill([5], 0.5))
            loss, _ = values.loss(outputs, action, target)
        gradient = tape.gradient(loss, outputs)
        gradient = gradient[0] if isinstance(gradient, tuple) else gradient
        taken = np.eye(2, dtype=bool)[action.numpy()]
        assert np.all(gradient.numpy()[~taken] == 0.0)
        assert np.any(gradient.numpy()[taken] != 0.0)

    def test_loss_and_metrics_are_means_over_the_batch(self, kernels):
        """Of the losses of its rows, each with its weight."""
        agent, batch = make_linear(*kernels), transitions()
        loss, metrics = agent.compute_loss(batch, SEED)
        rows = []
        for i in range(16):
            row = tf.nest.map_structure(lambda x, i=i: x[i : i + 1], batch)
            alone, more = agent.compute_loss(row, SEED)
            rows.append([alone, more["q_value"]])
        expected = np.mean(rows, axis=0)
        np.testing.assert_allclose([loss, metrics["q_value"]], expected, rtol=1e-5)

    @pytest.mark.parametrize(
        "hyperparameters",
        [{}, {"double": True}, {"munchausen": 0.7, "temperature": 0.3}],
    )
    def test_observations_are_normalised_wherever_they_are_read(
        self, kernels, hyperparameters
    ):
        normalizer = RunningNormalization()
        agent = make_linear(
            *kernels, observation_normalizer=normalizer, **hyperparameters
        )
        plain = make_linear(*kernels, **hyperparameters)
        normalizer.update(tf.constant([[1.0, 5.0, -3.0], [3.0, 6.0, 3.0]]))
        batch = transitions()
        scaled = batch._replace(
            observation=normalizer(batch.observation),
            next_observation=normalizer(batch.next_observation),
        )
        errors = [
            a.compute_loss(b, SEED)[1]["td_error"]
            for a, b in ((agent, batch), (plain, scaled))
        ]
        np.testing.assert_allclose(*errors, rtol=1e-4, atol=1e-5)
        seen = [
            a.forward(b.observation).parameters
            for a, b in ((agent, batch), (plain, scaled))
        ]
        np.testing.assert_allclose(*seen, rtol=1e-4, atol=1e-5)

    def test_a_loss_that_is_not_finite_is_not_learned_from(self, kernels):
        """Nor where its gradient is finite, nor the other way round."""

        @tf.custom_gradient
        def spoil(x):
            return x, lambda dy: dy * float("inf")

        class Spoiled(DQN):
            def compute_loss(self, batch, seed):
                loss, metrics = super().compute_loss(batch, seed)
                return (spoil(loss) if self.inside else loss + float("inf")), metrics

        for inside, interval in [(False, 1), (True, 1), (True, 5)]:
            agent = Spoiled(
                linear_network(kernels[0]), seed=0, target_update_interval=interval
            )
            agent.target_network.set_weights([kernels[1]])
            agent.inside = inside
            agent.update(transitions(), SEED)
            assert int(agent.optimizer.iterations) == 0
            kernel = agent.q_network.get_weights()[0]
            np.testing.assert_array_equal(kernel, kernels[0])
            target = agent.target_network.get_weights()[0]
            np.testing.assert_array_equal(target, kernels[1])


QUICK = ("iqn",)
MEMBERS = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.long)
    for name in FAMILY
]


@pytest.mark.long
@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_learns_saves_and_loads(name, tmp_path):
    def make():
        return DQN.for_env(
            "Chain-5", hidden=(8,), seed=4, learning_starts=8, batch_size=4,
            buffer_size=50, target_update_interval=5, xla=False, **FAMILY[name],
        )  # fmt: skip

    agent = make()
    before = agent.q_network.get_weights()
    history = agent.fit("Chain-5", steps=40, epochs=1, verbose=0).history
    assert np.isfinite([history[n] for n in agent.metric_names]).all()
    moved = [
        np.any(a != b)
        for a, b in zip(before, agent.q_network.get_weights(), strict=True)
    ]
    assert all(moved), name
    path = tmp_path / "agent.keras"
    agent.save(path)
    loaded = krl.load_agent(path)
    for a, b in zip(agent.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    states = np.eye(5, dtype=np.float32)
    np.testing.assert_array_equal(
        agent.forward(states).parameters, loaded.forward(states).parameters
    )
    assert loaded.buffer.get_config() == agent.buffer.get_config()
    assert loaded.action_values.get_config() == agent.action_values.get_config()
    assert loaded.exploration.get_config() == agent.exploration.get_config()
    twin = make()
    twin.fit("Chain-5", steps=40, epochs=1, verbose=0)
    for a, b in zip(agent.variables, twin.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
