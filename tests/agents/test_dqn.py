"""Tests of `DQN`: targets by hand, its parts, its updates."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2 import losses
from kerasrl2.action_values import ImplicitQuantileValues
from kerasrl2.agents import DQN, ObservationSpec, Rainbow
from kerasrl2.buffers import PrioritizedReplayBuffer
from kerasrl2.distributions import Categorical
from kerasrl2.exploration import Boltzmann, EpsilonGreedy, Greedy
from kerasrl2.layers import (
    DuelingHead,
    NoisyDense,
    RunningNormalization,
    seed_noise,
)
from kerasrl2.types import Transition
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


def linear_network(kernel):
    """`Q(s) = s K` without a bias."""
    kernel = np.array(kernel, np.float32)
    layer = keras.layers.Dense(kernel.shape[1], use_bias=False)
    network = keras.Sequential([keras.Input((kernel.shape[0],)), layer])
    layer.kernel.assign(kernel)
    return network


def make_linear(online, target, **hyperparameters):
    settings = {"optimizer": keras.optimizers.SGD(0.1), "max_gradient_norm": None}
    settings |= {"seed": 0, "xla": False}
    agent = DQN(linear_network(online), **{**settings, **hyperparameters})
    agent.target_network.set_weights([np.array(target, np.float32)])
    return agent


def transitions(seed=0, rows=16, features=3, actions=4):
    rng = np.random.default_rng(seed)

    def floats(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    return Transition(
        observation=floats(rows, features),
        action=tf.constant(rng.integers(0, actions, rows), tf.int32),
        reward=floats(rows),
        discount=tf.constant(rng.choice([0.0, 0.9], rows), tf.float32),
        next_observation=floats(rows, features),
        weight=tf.constant(rng.uniform(0.1, 1.0, rows), tf.float32),
    )


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
        metrics = agent.update(self.BATCH)
        assert float(metrics["loss"]) == pytest.approx(0.5 * 2.0)
        assert float(metrics["td_error"][0]) == pytest.approx(2.5)
        assert float(metrics["q_value"]) == 3.0
        assert float(metrics["gradient_norm"]) == pytest.approx(0.5)
        kernel = agent.q_network.get_weights()[0]
        np.testing.assert_allclose(kernel, [[3.05, 7.0], [3.0, 1.0]], rtol=1e-6)
        moved = agent.target_network.get_weights()[0]
        np.testing.assert_array_equal(moved, self.TARGET)
        agent.update(self.BATCH)  # now the target moves half way
        kernel = agent.q_network.get_weights()[0]
        moved = agent.target_network.get_weights()[0]
        expected = 0.5 * (np.array(self.TARGET) + kernel)
        np.testing.assert_allclose(moved, expected, rtol=1e-6)

    def test_squared_loss(self):
        values = krl.action_values.ScalarValues("squared")
        agent = make_linear(self.ONLINE, self.TARGET, action_values=values)
        metrics = agent.update(self.BATCH)
        assert float(metrics["loss"]) == pytest.approx(0.5 * 2.5**2 / 2)
        assert agent.q_network.get_weights()[0][0, 0] == pytest.approx(3.0 + 0.125)

    def test_no_error_moves_nothing(self):
        agent = make_linear(self.ONLINE, self.TARGET)
        batch = self.BATCH._replace(reward=tf.constant([-1.5]))
        agent.update(batch)
        np.testing.assert_array_equal(agent.q_network.get_weights()[0], self.ONLINE)

    def test_a_hard_copy_is_exact(self):
        agent = make_linear(self.ONLINE, self.TARGET, target_update_interval=1)
        agent.update(self.BATCH)
        pairs = zip(agent.q_network.weights, agent.target_network.weights, strict=True)
        for online, target in pairs:
            np.testing.assert_array_equal(online, target)

    def test_gradients_are_clipped_and_their_norm_is_reported(self):
        """`test_one_update` with half of its gradient."""
        agent = make_linear(self.ONLINE, self.TARGET, max_gradient_norm=0.25)
        metrics = agent.update(self.BATCH)
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
        metrics = compiled(lambda batch: agent.compute_loss(batch)[1])(batch)
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
        metrics = compiled(lambda batch: agent.compute_loss(batch)[1])(batch)
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
        whole = agent.compute_loss(batch)[1]["td_error"].numpy()
        order = np.random.default_rng(2).permutation(16)
        shuffled = tf.nest.map_structure(lambda x: tf.gather(x, order), batch)
        errors = agent.compute_loss(shuffled)[1]["td_error"]
        np.testing.assert_allclose(errors, whole[order], rtol=1e-5, atol=1e-6)
        for i in (0, 7):
            one = tf.nest.map_structure(lambda x, i=i: x[i : i + 1], batch)
            alone = agent.compute_loss(one)[1]["td_error"]
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
        loss, metrics = agent.compute_loss(batch)
        rows = []
        for i in range(16):
            row = tf.nest.map_structure(lambda x, i=i: x[i : i + 1], batch)
            alone, more = agent.compute_loss(row)
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
            a.compute_loss(b)[1]["td_error"]
            for a, b in ((agent, batch), (plain, scaled))
        ]
        np.testing.assert_allclose(*errors, rtol=1e-4, atol=1e-5)
        seen = [
            a.policy_parameters(b.observation)
            for a, b in ((agent, batch), (plain, scaled))
        ]
        np.testing.assert_allclose(*seen, rtol=1e-4, atol=1e-5)

    def test_a_loss_that_is_not_finite_is_not_learned_from(self, kernels):
        """Nor where its gradient is finite, nor the other way round."""

        @tf.custom_gradient
        def spoil(x):
            return x, lambda dy: dy * float("inf")

        class Spoiled(DQN):
            def compute_loss(self, batch):
                loss, metrics = super().compute_loss(batch)
                return (spoil(loss) if self.inside else loss + float("inf")), metrics

        for inside, interval in [(False, 1), (True, 1), (True, 5)]:
            agent = Spoiled(
                linear_network(kernels[0]), seed=0, target_update_interval=interval
            )
            agent.target_network.set_weights([kernels[1]])
            agent.inside = inside
            agent.update(transitions())
            assert int(agent.optimizer.iterations) == 0
            kernel = agent.q_network.get_weights()[0]
            np.testing.assert_array_equal(kernel, kernels[0])
            target = agent.target_network.get_weights()[0]
            np.testing.assert_array_equal(target, kernels[1])


QUICK = "dueling", "iqn"
MEMBERS = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.long)
    for name in FAMILY
]


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
        agent.policy_parameters(states), loaded.policy_parameters(states)
    )
    assert loaded.buffer.get_config() == agent.buffer.get_config()
    assert loaded.action_values.get_config() == agent.action_values.get_config()
    assert loaded.exploration.get_config() == agent.exploration.get_config()
    twin = make()
    twin.fit("Chain-5", steps=40, epochs=1, verbose=0)
    for a, b in zip(agent.variables, twin.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


class TestExploring:
    KERNELS = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)

    def test_random_until_learning_starts(self):
        agent = DQN.for_env("CartPole-v1", noisy=True, learning_starts=100, seed=0)
        observation = np.ones([512, 4], np.float32)

        def share(env_steps):
            _, action = agent.explore(observation, tf.constant([0, 1]), env_steps)
            return float(tf.reduce_mean(tf.cast(action, tf.float32)))

        assert share(99) == pytest.approx(0.5, abs=0.07)
        assert share(100) in (0.0, 1.0)

    def test_epsilon_follows_the_steps_of_the_environments(self):
        agent = DQN.for_env("CartPole-v1", epsilon_steps=1000, learning_starts=1)
        q = tf.tile(tf.constant([[0.0, 1.0]]), [20_000, 1])
        for step, epsilon in [(0, 1.0), (500, 0.525), (1000, 0.05), (9999, 0.05)]:
            action = agent.exploration(q, tf.constant(step), tf.constant([3, step]))
            random = 2.0 * (1.0 - float(tf.reduce_mean(tf.cast(action, tf.float32))))
            assert random == pytest.approx(epsilon, abs=0.02)
            assert agent.exploration.logs(step)["epsilon"] == pytest.approx(epsilon)

    def test_one_epsilon_for_each_environment(self):
        explore = EpsilonGreedy([0.0, 1.0])
        q = tf.constant([[0.0, 1.0], [0.0, 1.0]])
        draws = [explore(q, 0, tf.constant([0, i])).numpy() for i in range(200)]
        assert np.mean(draws, axis=0)[0] == 1.0
        assert np.mean(draws, axis=0)[1] == pytest.approx(0.5, abs=0.1)

    def test_boltzmann_is_the_softmax(self):
        q = tf.tile(tf.math.log([[0.5, 0.2, 0.3]]) * 2.0, [20_000, 1])
        action = Boltzmann(temperature=2.0)(q, 0, tf.constant([0, 0]))
        share = np.bincount(action, minlength=3) / 20_000
        np.testing.assert_allclose(share, [0.5, 0.2, 0.3], atol=0.015)

    def test_modes_agree(self, compiled):
        q = tf.constant(np.random.default_rng(0).normal(size=[64, 5]), tf.float32)
        for explore in (EpsilonGreedy(0.5), Boltzmann(0.7), Greedy()):
            drawn = compiled(explore)(q, tf.constant(3), tf.constant([1, 2]))
            np.testing.assert_array_equal(drawn, explore(q, 3, [1, 2]))

    @pytest.mark.parametrize("epsilon", [-0.1, 1.1, [0.5, 2.0], "high"])
    def test_epsilon_is_checked(self, epsilon):
        with pytest.raises(ValueError, match="`epsilon`"):
            EpsilonGreedy(epsilon)

    def test_noise_is_a_function_of_the_seed(self):
        """What is played between two updates changes nothing of the training."""
        agent = DQN.for_env("CartPole-v1", noisy=True, learning_starts=1, seed=0)
        agent.env_steps.assign(10)
        observation = np.random.default_rng(0).normal(size=[256, 4])
        played = [agent.act(observation, True, seed=[0, s]) for s in (1, 2, 1)]
        np.testing.assert_array_equal(played[0], played[2])
        assert np.any(played[0] != played[1])
        batch = transitions(features=4, actions=2)
        losses = [float(agent.compute_loss(batch)[0])]
        agent.act(observation, training=True)
        losses.append(float(agent.compute_loss(batch)[0]))
        assert losses[0] == losses[1]

    def test_acting_greedily_has_no_noise_and_exploring_has(self):
        agent = DQN.for_env("CartPole-v1", noisy=True, learning_starts=1, seed=0)
        agent.env_steps.assign(10)
        observation = np.random.default_rng(0).normal(size=[64, 4])
        greedy = [agent.act(observation) for _ in range(5)]
        noisy = [agent.act(observation, training=True) for _ in range(20)]
        assert all((a == greedy[0]).all() for a in greedy)
        assert any((a != greedy[0]).any() for a in noisy)

    def test_actions_of_the_environment_begin_at_the_start_of_its_space(self):
        head = Categorical(4, start=3)
        agent = make_linear(*self.KERNELS, head=head, learning_starts=10)
        seed, observation = tf.constant([0, 1]), transitions().observation
        for env_action, action in (
            agent.random_action(16, seed),
            agent.explore(observation, seed, tf.constant(0, tf.int64)),
            agent.explore(observation, seed, tf.constant(20, tf.int64)),
        ):
            np.testing.assert_array_equal(env_action, action + 3)
            assert set(action.numpy()) <= {0, 1, 2, 3}

    @pytest.mark.parametrize("exploration", [EpsilonGreedy(0.5), Boltzmann(5.0)])
    def test_exploration_is_a_function_of_the_seed(self, exploration):
        """Also once actions are not uniformly random any more."""
        agent = make_linear(*self.KERNELS, exploration=exploration, learning_starts=1)
        observation, steps = transitions(rows=256).observation, tf.constant(5, tf.int64)
        played = [
            agent.explore(observation, tf.constant([0, s]), steps)[1] for s in (1, 2, 1)
        ]
        np.testing.assert_array_equal(played[0], played[2])
        assert np.any(played[0] != played[1])

    def test_exploration_goes_on_from_the_steps_made(self):
        """`act` explores by `env_steps`: at random until the first update."""
        kernels = np.zeros([2, 3, 4], np.float32)
        kernels[:, :, 2] = 1.0
        agent = make_linear(*kernels, exploration=Greedy(), learning_starts=10)
        observation, shares = np.ones([64, 3], np.float32), []
        for steps in (9, 10):
            agent.env_steps.assign(steps)
            shares.append(np.mean(agent.act(observation, training=True) == 2))
        assert shares[0] < 0.5
        assert shares[1] == 1.0

    def test_a_temperature_of_boltzmann_falls_with_the_steps(self):
        schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 1e-3)
        explore = Boltzmann(schedule)
        assert explore.logs(5)["temperature"] == pytest.approx(0.5005)
        q = tf.tile(tf.constant([[0.0, 0.5]]), [200, 1])
        shares = [
            float(
                tf.reduce_mean(tf.cast(explore(q, t, tf.constant([0, 1])), "float32"))
            )
            for t in (0, 10)
        ]
        assert shares[0] == pytest.approx(1.0 / (1.0 + np.exp(-0.5)), abs=0.1)
        assert shares[1] == 1.0

    def test_the_epsilon_reported_is_the_mean_over_the_environments(self):
        assert EpsilonGreedy([0.0, 0.5, 0.4]).logs(0)["epsilon"] == pytest.approx(0.3)

    def test_only_learning_uses_dropout(self):
        inputs = keras.Input([4])
        x = keras.layers.Dropout(0.5, seed=0)(keras.layers.Dense(64)(inputs))
        network = keras.Model(inputs, keras.layers.Dense(2)(x))
        agent = DQN(network, exploration=Greedy(), learning_starts=1, seed=0)
        observation = np.random.default_rng(0).normal(size=[64, 4]).astype("float32")
        steps = tf.constant(1, tf.int64)
        _, played = agent.explore(observation, tf.constant([0, 1]), steps)
        np.testing.assert_array_equal(played, agent.act(observation))
        batch = transitions(features=4, actions=2)
        np.testing.assert_array_equal(agent.targets(batch), agent.targets(batch))
        errors = [agent.compute_loss(batch)[1]["td_error"] for _ in range(2)]
        assert np.any(errors[0] != errors[1])


class Recorded(ImplicitQuantileValues):
    """Keeps the fractions it is asked for."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = []

    def read(self, network, observation, training, seed=None):
        outputs = super().read(network, observation, training, seed)
        self.seen.append(outputs[1].numpy())
        return outputs


class TestDraws:
    """What is random in a gradient step is drawn anew each time, once for each use."""

    @staticmethod
    def noise(seed, steps):
        """Where the noise of both networks stands after the loss of a gradient step."""
        agent = DQN.for_env("CartPole-v1", noisy=True, seed=seed)
        agent.optimizer.iterations.assign(steps)
        agent.compute_loss(transitions(features=4, actions=2))
        return [
            tuple(v.numpy().tolist())
            for v in agent.variables
            if v.path.endswith("noise_state")
        ]

    def test_noise_of_each_network_and_step(self):
        states = [self.noise(0, 0), self.noise(0, 1), self.noise(1, 0)]
        assert [len(state) for state in states] == [4, 4, 4]
        assert len({x for state in states for x in state}) == 12
        assert self.noise(0, 0) == states[0]

    def test_targets_are_noisy_if_the_networks_are(self):
        agent = DQN.for_env("CartPole-v1", noisy=True, seed=0)
        batch = transitions(features=4, actions=2)
        network, seed = agent.target_network, tf.constant([1, 2])
        seed_noise(network, seed)
        best = tf.reduce_max(network(batch.next_observation, training=True), axis=1)
        expected = batch.reward + batch.discount * best
        seed_noise(network, seed)
        np.testing.assert_allclose(agent.targets(batch), expected, rtol=1e-5, atol=1e-6)

    def test_fractions_of_each_reading_and_step(self):
        values = Recorded(5)
        network = krl.layers.q_network((3,), 2, hidden=(4,), fractions=True)
        agent = DQN(network, Categorical(2), ObservationSpec((3,), "float32"),
                    action_values=values, double=True, seed=0)  # fmt: skip
        for step in (0, 1, 0):
            agent.optimizer.iterations.assign(step)
            agent.compute_loss(transitions(actions=2))
        assert len(values.seen) == 9  # next states by both networks, states by one
        assert len(np.unique(values.seen[:6])) == 6 * 16 * 5
        np.testing.assert_array_equal(values.seen[6:], values.seen[:3])


class TestParts:
    def test_rainbow_has_all_of_them(self):
        agent = Rainbow.for_env("CartPole-v1", value_range=(0.0, 50.0), seed=0)
        assert isinstance(agent, DQN)
        assert isinstance(agent.buffer, PrioritizedReplayBuffer)
        assert agent.double
        assert agent.buffer.n_step == 3
        assert isinstance(agent.exploration, Greedy)
        kinds = {type(layer) for layer in agent.q_network._flatten_layers()}
        assert {DuelingHead, NoisyDense} <= kinds
        assert agent.action_values.maximum == 50.0
        assert not Rainbow.for_env("CartPole-v1", double=False).double

    def test_the_target_has_noise_of_its_own(self):
        agent = DQN.for_env("CartPole-v1", noisy=True, seed=0)
        x = tf.ones([1, 4])
        noisy = [
            net(x, training=True) for net in (agent.q_network, agent.target_network)
        ]
        plain = [
            net(x, training=False) for net in (agent.q_network, agent.target_network)
        ]
        np.testing.assert_array_equal(*plain)
        assert np.any(noisy[0] != noisy[1])

    def test_the_target_is_not_trained(self):
        agent = DQN.for_env("CartPole-v1", seed=0)
        assert len(agent.trainable_variables) == len(agent.q_network.weights)

    def test_own_parts(self):
        network = linear_network(np.zeros([4, 2]))
        buffer = PrioritizedReplayBuffer(500, n_step=2, gamma=0.5)
        agent = DQN(q_network=network, buffer=buffer, learning_starts=20, seed=0)
        agent.fit("CartPole-v1", steps=40, epochs=1, verbose=0)
        assert agent.buffer is buffer
        assert len(buffer) == 40
        assert agent.q_network is network

    def test_images_are_stored_as_single_frames(self):
        class Frames(Scripted):
            frame_stack = 3

        agent = DQN.for_env(Frames([5]))
        assert agent.buffer.get_config()["frame_stack"] == 3

    def test_overriding_the_loss_changes_just_that(self):
        class Constant(DQN):
            def compute_loss(self, batch):
                loss, metrics = super().compute_loss(batch)
                return 0.0 * loss, metrics

        agent = Constant.for_env("Chain-5", learning_starts=5, seed=0, xla=False)
        before = agent.q_network.get_weights()
        agent.fit("Chain-5", steps=20, epochs=1, verbose=0)
        for a, b in zip(before, agent.q_network.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_clipped_rewards(self):
        agent = DQN.for_env("Chain-5", clip_rewards=1.0)
        rewards = agent.stored_reward(tf.constant([-3.0, 0.5, 7.0]))
        assert rewards.numpy().tolist() == [-1.0, 0.5, 1.0]

    def test_defaults_of_the_constructor(self):
        agent = DQN(linear_network(np.zeros([4, 2])), seed=3)
        assert agent.buffer.get_config()["seed"] == 3
        logs = [agent.exploration.logs(step)["epsilon"] for step in (0, 5000, 10_000)]
        assert logs == pytest.approx([1.0, 0.525, 0.05])


class TestBadInput:
    def test_continuous_actions(self):
        with pytest.raises(ValueError, match="Discrete actions"):
            DQN.for_env("Pendulum-v1")

    def test_unknown_keyword_names_the_nearest(self):
        with pytest.raises(ValueError, match="Did you mean 'double'"):
            DQN.for_env("CartPole-v1", duoble=True)

    @pytest.mark.parametrize(
        ("hyperparameters", "message"),
        [
            ({"tau": 0.0}, "`tau`"),
            ({"tau": 1.5}, "`tau`"),
            ({"munchausen": 2.0}, "`munchausen`"),
            ({"temperature": 0.0}, "`temperature`"),
            ({"clip_rewards": 0.0}, "`clip_rewards`"),
            ({"learning_rate": -1.0}, "`learning_rate`"),
            ({"target_update_interval": 0}, "`target_update_interval`"),
            ({"distribution": "c51"}, "categorical"),
            ({"exploration": "epsilon"}, "epsilon_greedy"),
            ({"final_epsilon": 2.0}, "`final_epsilon`"),
            ({"distribution": "categorical", "value_range": (1.0, 1.0)}, "`minimum`"),
            ({"loss": "absolute"}, "huber"),
            ({"gamma": 1.5}, "`gamma`"),
        ],
    )
    def test_knobs(self, hyperparameters, message):
        with pytest.raises(ValueError, match=message):
            DQN.for_env("CartPole-v1", **hyperparameters)

    def test_network_of_the_wrong_size(self):
        network = linear_network(np.zeros([4, 3]))
        with pytest.raises(ValueError, match=r"\[B, 2\]"):
            DQN.for_env("CartPole-v1", network=network)

    def test_network_without_atoms(self):
        network = linear_network(np.zeros([4, 2]))
        with pytest.raises(ValueError, match=r"\[B, 2, 51\]"):
            DQN.for_env("CartPole-v1", network=network, distribution="categorical")

    def test_what_cannot_work_is_refused(self):
        network = linear_network(np.zeros([4, 2]))
        with pytest.raises(ValueError, match="`double` or `munchausen`"):
            DQN(network, double=True, munchausen=0.9)
        with pytest.raises(ValueError, match=r"`q_network`.*Received: Unbuilt"):
            DQN(type("Unbuilt", (keras.Model,), {})())
