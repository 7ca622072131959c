"""Tests of `DQN`: exploring, and what is random in a gradient step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.action_values import ImplicitQuantileValues
from kerasrl2.agents import DQN, ObservationSpec
from kerasrl2.distributions import Categorical
from kerasrl2.exploration import Boltzmann, EpsilonGreedy, Greedy
from kerasrl2.layers import seed_noise
from tests.agents.harness import SEED, play_as_the_loop
from tests.agents.q_learning import make_linear, transitions


class TestExploring:
    KERNELS = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)

    def test_random_until_learning_starts(self):
        agent = DQN.for_env("CartPole-v1", noisy=True, learning_starts=100, seed=0)
        observation = np.ones([512, 4], np.float32)

        def share(env_steps):
            _, action = play_as_the_loop(agent, observation, SEED, env_steps)
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

    def test_other_rows_than_environments_have_the_mean(self, compiled):
        explore = EpsilonGreedy([0.0, 0.8])
        q = tf.tile(tf.constant([[0.0, 1.0]]), [5_000, 1])
        draws = compiled(explore)(q, 0, tf.constant([0, 1])).numpy()
        assert draws.mean() == pytest.approx(1.0 - 0.4 / 2, abs=0.02)
        spec = tf.TensorSpec([None, 2])
        unknown = tf.function(lambda q: explore(q, 0, [0, 1]), input_signature=[spec])
        for rows in (1, 2, 5_000):
            expected = explore(q[:rows], 0, [0, 1])
            np.testing.assert_array_equal(unknown(q[:rows]), expected)

    def test_epsilons_outside_of_training(self):
        agent = make_linear(
            *self.KERNELS, exploration=EpsilonGreedy([0.0, 0.2, 0.4]), learning_starts=1
        )
        agent.env_steps.assign(1)
        assert agent.act(np.ones(3, np.float32), training=True).shape == ()
        for rows in (1, 2, 3, 7):
            observation = np.ones([rows, 3], np.float32)
            assert agent.act(observation, training=True).shape == (rows,)

    def test_as_many_epsilons_as_environments_in_training(self):
        agent = DQN.for_env(
            "CartPole-v1", hidden=(), exploration=EpsilonGreedy([0.0, 0.5, 1.0])
        )
        assert agent.evaluate("CartPole-v1", episodes=2, greedy=False)["episodes"] == 2
        with pytest.raises(
            ValueError, match=r"each of the 2 environments.*Received: 3"
        ):
            agent.fit("CartPole-v1", steps=4, num_envs=2, verbose=0)
        assert int(agent.env_steps) == 0

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
        losses = [float(agent.compute_loss(batch, SEED)[0])]
        agent.act(observation, training=True)
        losses.append(float(agent.compute_loss(batch, SEED)[0]))
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
        for env_steps in (0, 20):  # at random, and not
            env_action, action = play_as_the_loop(
                agent, transitions().observation, SEED, env_steps
            )
            np.testing.assert_array_equal(env_action, action + 3)
            assert set(action.numpy()) <= {0, 1, 2, 3}

    @pytest.mark.parametrize("exploration", [EpsilonGreedy(0.5), Boltzmann(5.0)])
    def test_exploration_is_a_function_of_the_seed(self, exploration):
        """Also once actions are not uniformly random any more."""
        agent = make_linear(*self.KERNELS, exploration=exploration, learning_starts=1)
        observation = transitions(rows=256).observation
        played = [
            play_as_the_loop(agent, observation, tf.constant([0, s]), env_steps=5)[1]
            for s in (1, 2, 1)
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
        _, played = play_as_the_loop(agent, observation, SEED, env_steps=1)
        np.testing.assert_array_equal(played, agent.act(observation))
        batch = transitions(features=4, actions=2)
        np.testing.assert_array_equal(agent.targets(batch), agent.targets(batch))
        errors = [agent.compute_loss(batch, SEED)[1]["td_error"] for _ in range(2)]
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
    def noise(agent, *seed):
        """Where the noise of both networks stands after the loss of a gradient step."""
        agent.compute_loss(transitions(features=4, actions=2), tf.constant(seed))
        return [
            tuple(v.numpy().tolist())
            for v in agent.variables
            if v.path.endswith("noise_state")
        ]

    def test_noise_of_each_network_and_step(self):
        agent = DQN.for_env("CartPole-v1", noisy=True, seed=0)
        states = [self.noise(agent, *seed) for seed in ([0, 0], [0, 1], [1, 0])]
        assert [len(state) for state in states] == [4, 4, 4]
        assert len({x for state in states for x in state}) == 12
        assert self.noise(agent, 0, 0) == states[0]

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
            agent.compute_loss(transitions(actions=2), tf.constant([0, step]))
        assert len(values.seen) == 9  # next states by both networks, states by one
        assert len(np.unique(values.seen[:6])) == 6 * 16 * 5
        np.testing.assert_array_equal(values.seen[6:], values.seen[:3])
