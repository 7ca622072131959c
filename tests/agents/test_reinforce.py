"""Tests of `kerasrl2.agents.Reinforce`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import kerasrl2 as krl
from kerasrl2.agents import Reinforce
from kerasrl2.distributions import Categorical
from kerasrl2.envs.exact import Endless
from kerasrl2.types import Rollout
from tests.agents.harness import SEED
from tests.harness import compiled_in_long_runs
from tests.training.runs import state_of
from tests.training.worlds import Bandit, Scripted

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def linear_agent(value=0.0, **hyperparameters):
    """Uniform over two actions; the value of `[1.0]` is a weight."""
    inputs = keras.Input([1])
    zeros = {"use_bias": False, "kernel_initializer": "zeros"}
    outputs = [keras.layers.Dense(2, **zeros)(inputs)]
    if hyperparameters.get("baseline", "value") == "value":
        outputs.append(keras.layers.Dense(1, **zeros)(inputs))
    network = keras.Model(inputs, outputs if outputs[1:] else outputs[0])
    if outputs[1:]:
        network.layers[-1].kernel.assign([[value]])
    settings = {"optimizer": keras.optimizers.SGD(0.5), "seed": 0, "xla": False}
    return Reinforce(network, Categorical(2), **{**settings, **hyperparameters})


def episode(rewards, actions=None, truncated=False):
    """A `Rollout` of one episode `[T, 1]` that ends with its last reward."""
    length = len(rewards)
    column = lambda x, dtype: tf.constant(x, dtype)[:, None]  # noqa: E731
    last = [t == length - 1 for t in range(length)]
    no = [False] * length
    ones = tf.ones([length, 1, 1])
    return Rollout(
        observation=ones,
        action=column([0] * length if actions is None else actions, tf.int32),
        reward=column(rewards, tf.float32),
        terminated=column(no if truncated else last, tf.bool),
        truncated=column(last if truncated else no, tf.bool),
        valid=column([True] * length, tf.bool),
        next_observation=ones,
        last_observation=tf.ones([1, 1]),
    )


def prepared(agent, rollout):
    """`(advantage, target)` of an episode, as lists."""
    batch, _ = agent.prepare(rollout, agent.initial_learner_state(1))
    return batch.advantage.numpy().tolist(), batch.target.numpy().tolist()


class TestReturns:
    def test_to_go_and_of_the_whole_episode(self):
        rewards = [1.0, 2.0, 3.0]  # systems.md 002-02
        agent = linear_agent(gamma=0.5, baseline=None)
        assert prepared(agent, episode(rewards))[0] == [2.75, 3.5, 3.0]
        agent = linear_agent(gamma=0.5, baseline=None, reward_to_go=False)
        assert prepared(agent, episode(rewards))[0] == [2.75] * 3

    def test_normalised(self):
        """systems.md 003-01: mean 1.9867, deviation 0.804293."""
        agent = linear_agent(gamma=0.99, normalize_returns=True, value=0.5)
        advantage, target = prepared(agent, episode([1.0, 1.0, 1.0]))
        expected = np.array([1.222688, 0.004103, -1.226791])
        np.testing.assert_allclose(target, expected, atol=2e-6)
        np.testing.assert_allclose(advantage, expected - 0.5, atol=2e-6)

    @pytest.mark.parametrize("rewards", [[0.7], [0.0] * 5 + [0.1], [0.0] * 500])
    def test_returns_that_are_constant_teach_nothing(self, rewards):
        agent = linear_agent(gamma=1.0, normalize_returns=True, baseline=None)
        before = agent.network.get_weights()
        rollout = episode(rewards)
        batch, _ = agent.prepare(rollout, ())
        np.testing.assert_array_equal(batch.advantage, np.zeros(len(rewards)))
        metrics, _ = agent.update(batch, SEED)
        assert float(metrics["gradient_norm"]) == 0.0
        np.testing.assert_array_equal(agent.network.get_weights()[0], before[0])

    def test_restarted_at_each_point(self):
        """systems.md 002-10."""
        agent = linear_agent(gamma=0.99, restart_discount=True, baseline=None)
        rewards = [0.0, 0.0, 1.0, 0.0, -1.0]
        advantage, _ = prepared(agent, episode(rewards))
        np.testing.assert_allclose(advantage, [0.9801, 0.99, 1, -0.99, -1], rtol=1e-6)

    def test_a_value_stands_for_the_rest_of_what_was_truncated(self):
        agent = linear_agent(value=5.0, gamma=0.9)
        advantage, target = prepared(agent, episode([1.0, 1.0], truncated=True))
        np.testing.assert_allclose(target, [1 + 0.9 * 5.5, 5.5], rtol=1e-6)
        np.testing.assert_allclose(advantage, [0.95, 0.5], rtol=1e-5)
        _, target = prepared(agent, episode([1.0, 1.0]))
        np.testing.assert_allclose(target, [1.9, 1.0], rtol=1e-6)

    @pytest.mark.parametrize(
        "more", [{"baseline": None}, {"baseline": "mean"}, {"normalize_returns": True}]
    )
    def test_without_a_value_of_that_unit_nothing_does(self, more):
        results = [
            prepared(
                linear_agent(gamma=0.9, **more), episode([1.0, 3.0], truncated=cut)
            )
            for cut in (True, False)
        ]
        assert results[0] == results[1]

    def test_the_mean_is_one_of_earlier_updates(self):
        """Means 2 and 4, rate 0.5: baselines 0, 2, then (2/4 + 4/2) / (3/4)."""
        agent = linear_agent(gamma=0.0, baseline="mean", baseline_rate=0.5)
        assert prepared(agent, episode([1.0, 3.0]))[0] == [1.0, 3.0]
        assert prepared(agent, episode([4.0, 4.0]))[0] == [2.0, 2.0]
        advantage, _ = prepared(agent, episode([0.0, 0.0]))
        np.testing.assert_allclose(advantage, [-2.5 / 0.75] * 2, rtol=1e-6)


@compiled_in_long_runs
def test_one_update_by_hand(compiled):
    """G = 2 at logits (0, 0), action 0: loss 1.386294, gradient (-1, 1)."""
    agent = linear_agent(baseline=None)
    batch, _ = agent.prepare(episode([2.0]), ())
    metrics, _ = compiled(agent.update)(batch, SEED)
    assert float(metrics["loss"]) == pytest.approx(1.386294, abs=1e-6)
    np.testing.assert_allclose(agent.network.get_weights()[0], [[0.5, -0.5]], rtol=1e-6)
    assert set(metrics) == {"loss", "policy_loss", "entropy", "gradient_norm"}


def test_no_gradient_of_the_policys_loss_by_the_value():
    """systems.md 003-01: a value that is part of it settles at 1.693, not at 1."""
    agent = linear_agent(value_coefficient=1.0)
    agent.network.layers[1].trainable = False  # uniform for ever
    agent.compile(keras.optimizers.SGD(0.5))
    batches = [agent.prepare(episode([1.0], [a]), ())[0] for a in (0, 1)]
    for _ in range(15):
        for batch in batches:
            agent.update(batch, SEED)
    (value,) = agent.network.layers[-1].get_weights()
    assert float(value[0, 0]) == pytest.approx(1.0, abs=1e-6)
    agent.value_coefficient = 0.0  # what is left is the policy's loss
    assert float(agent.update(batches[0], SEED)[0]["gradient_norm"]) == 0.0


def test_huber_loss_of_the_value():
    """V = 0, G = 3: 2.5, and a slope of -1."""
    agent = linear_agent(value_coefficient=1.0, huber_delta=1.0)
    batch, _ = agent.prepare(episode([3.0]), ())
    metrics, _ = agent.update(batch, SEED)
    assert float(metrics["value_loss"]) == pytest.approx(2.5)
    assert float(agent.network.get_weights()[1][0, 0]) == pytest.approx(0.5)


class TestEpisodes:
    SMALL = {"hidden": (4,), "seed": 0, "xla": False}  # noqa: RUF012

    def test_one_step_for_each_of_every_environment(self):
        """Lengths 3, 2 and 4 at once: 9 of 12 rows, and all begin anew."""
        world = Scripted([3, 2, 4], 3, stride=0)
        agent = Reinforce.for_env(world, num_envs=3, rollout_length=4, **self.SMALL)
        history = agent.fit(world, steps=27, epochs=1, verbose=0).history
        assert history["env_steps"] == [27]
        assert history["episodes"] == [9]
        assert int(agent.optimizer.iterations) == 3

    def test_longer_than_the_rollout_by_the_time_limit(self):
        agent = Reinforce.for_env(
            "CartPole-v1", baseline=None, rollout_length=100, **self.SMALL
        )
        with pytest.raises(ValueError, match=r"up to 500 steps.*rollout_length=100"):
            agent.fit("CartPole-v1", steps=100, epochs=1, verbose=0)

    @pytest.mark.long
    def test_longer_than_the_rollout_when_it_is_played(self):
        """After rollouts that were fine; nothing is learned from it."""
        world = Scripted([2, 4], 2)
        agent = Reinforce.for_env(
            world, baseline="mean", num_envs=2, rollout_length=4, **self.SMALL
        )
        agent.fit(world, steps=2, epochs=1, verbose=0)
        before = state_of(agent)
        other = Scripted([2, 5], 2)
        with pytest.raises(ValueError, match="longer than 4 steps in environment 1"):
            agent.fit(other, steps=8, epochs=1, verbose=0)
        after = state_of(agent)
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)

    @pytest.mark.long
    @pytest.mark.parametrize("more", [{}, {"baseline": None, "cut_episodes": True}])
    def test_or_it_is_cut(self, more):
        agent = Reinforce.for_env(
            "Endless-1", num_envs=2, rollout_length=4, **self.SMALL, **more
        )
        history = agent.fit("Endless-1", steps=8, epochs=1, verbose=0).history
        assert history["episode_length"] == [4.0]
        assert history["episodes"] == [2.0]

    def test_the_last_step_may_be_the_last(self):
        world = Endless(2, max_episode_steps=4)
        agent = Reinforce.for_env(
            world, num_envs=2, baseline=None, rollout_length=4, **self.SMALL
        )
        history = agent.fit(world, steps=8, epochs=1, verbose=0).history
        assert history["episodes"] == [2.0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"baseline": "median"}, "baseline"),
        ({"baseline": None, "huber_delta": 1.0}, "baseline='value' with `huber_delta`"),
        ({"baseline": "mean", "critic_learning_rate": 0.1}, "`critic_optimizer`"),
        ({"baseline": "mean", "normalize_returns": True}, "a mean of 0"),
        ({"restart_discount": True, "reward_to_go": False}, "reward_to_go=True"),
        ({"baseline": "mean", "baseline_rate": 0.0}, "baseline_rate"),
        ({"n_step": 3}, "n_step"),
    ],
)
def test_arguments_that_contradict_each_other(more, message):
    with pytest.raises(ValueError, match=message):
        Reinforce.for_env("Chain-5", hidden=(), **more)


def test_a_network_without_a_value():
    network = keras.Sequential([keras.Input([5]), keras.layers.Dense(2)])
    agent = Reinforce.for_env("Chain-5", network=network, baseline=None)
    assert agent.metric_names == ("loss", "policy_loss", "entropy", "gradient_norm")
    outputs = agent.policy(np.eye(5, dtype="f4"))
    assert set(outputs) == {"action", "parameters"}
    with pytest.raises(ValueError, match="two outputs"):
        Reinforce.for_env("Chain-5", network=network)


def test_the_running_mean_is_saved(tmp_path):
    world = Bandit(4)
    agent = Reinforce.for_env(world, baseline="mean", hidden=(), xla=False)
    agent.fit(world, steps=8, epochs=1, verbose=0)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    running = agent.running_return.numpy()
    assert running[1] == pytest.approx(1 - 0.9**2)
    np.testing.assert_array_equal(loaded.running_return, running)


@pytest.mark.long
def test_several_actions_at_once():
    """Every head learns: the loss knows log-probabilities only."""
    from tests.envs.worlds import Spaces

    for space in (spaces.MultiDiscrete([2, 3]), spaces.Box(-1.0, 1.0, [2])):
        box = spaces.Box(-1.0, 1.0, [2])
        agent = Reinforce.for_env(
            lambda s=space, b=box: Spaces(b, s), hidden=(4,), num_envs=2, xla=False,
            rollout_length=6,
        )  # fmt: skip
        history = agent.fit(
            lambda s=space, b=box: Spaces(b, s), steps=12, epochs=1, verbose=0
        ).history
        assert history["gradient_norm"][0] > 0.0


@pytest.mark.long
@pytest.mark.parametrize(
    "baseline",
    ["value", *(pytest.param(b, marks=pytest.mark.long) for b in ("mean", None))],
)
def test_a_bandit_of_two_arms(baseline):
    """systems.md 001-01: the better arm has 0.95 within 200 updates."""
    agent = Reinforce.for_env(
        Bandit(8), hidden=(), baseline=baseline, learning_rate=0.05, seed=0, num_envs=8,
        rollout_length=1, xla=False,
    )  # fmt: skip
    agent.fit(Bandit(8), steps=200 * 8, epochs=1, verbose=0)
    assert int(agent.optimizer.iterations) == 200
    logits = agent.forward(np.ones([1, 1], "f4")).parameters
    assert float(tf.nn.softmax(logits)[0, 1]) > 0.95
