"""Tests of `DQN`: the parts it is made of, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import DQN, Rainbow
from kerasrl2.buffers import PrioritizedReplayBuffer
from kerasrl2.exploration import Greedy
from kerasrl2.layers import DuelingHead, NoisyDense
from kerasrl2.types import Rollout
from tests.agents.harness import SEED
from tests.agents.q_learning import linear_network, make_linear, transitions
from tests.training.worlds import Scripted


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

    @pytest.mark.long
    def test_own_parts(self):
        network = linear_network(np.zeros([4, 2]))
        buffer = PrioritizedReplayBuffer(500, n_step=2, gamma=0.5)
        agent = DQN(network, buffer=buffer, learning_starts=20, seed=0, xla=False)
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
            def compute_loss(self, batch, seed):
                loss, metrics = super().compute_loss(batch, seed)
                return 0.0 * loss, metrics

        agent = Constant.for_env("Chain-5", learning_starts=5, seed=0, xla=False)
        before = agent.q_network.get_weights()
        agent.fit("Chain-5", steps=20, epochs=1, verbose=0)
        for a, b in zip(before, agent.q_network.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_an_update_is_its_two_halves_unless_it_is_overridden(self):
        """So a loop may compute gradients first and apply them later: the same bits."""

        class Own(DQN):
            def update(self, batch, seed):
                return super().update(batch, seed)

        kernels = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
        whole, halves = make_linear(*kernels), make_linear(*kernels)
        batch = transitions()
        metrics, td_error = whole.update(batch, SEED)
        gradients = halves.compute_gradients(batch, SEED)
        np.testing.assert_array_equal(halves.q_network.get_weights()[0], kernels[0])
        assert int(halves.optimizer.iterations) == 0
        for ours, theirs in zip(
            tf.nest.flatten((metrics, td_error, whole.variables)),
            tf.nest.flatten((*halves.apply_gradients(gradients), halves.variables)),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
        assert whole.updates_in_halves
        assert not Own(linear_network(kernels[0])).updates_in_halves

    def test_clipped_rewards(self):
        agent = DQN.for_env("Chain-5", clip_rewards=1.0)
        rollout = Rollout(*[None] * 6)._replace(reward=tf.constant([[-3.0, 0.5, 7.0]]))
        assert agent.stored(rollout).reward.numpy().tolist() == [[-1.0, 0.5, 1.0]]

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
