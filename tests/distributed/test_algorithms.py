"""The algorithms for workers: their settings, and what workers make of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.distributed import (
    GradientLearner,
    GradientServer,
    ReplayLearner,
    RolloutLearner,
    StaleRolloutLearner,
    Workers,
)
from kerasrl2.distributed.learners import learner_of
from kerasrl2.distributed.player import Place, Player
from kerasrl2.distributed.workers import workers_of
from kerasrl2.exploration import EpsilonLadder
from tests.training.test_asynchronous import Square
from tests.training.worlds import Scripted

EIGHT = [0.4, 0.16, 0.064, 0.0256, 0.01024, 0.004096, 0.0016384, 0.00065536]


class TestLadder:
    def test_the_eight_of_the_paper(self):
        np.testing.assert_allclose(EpsilonLadder().epsilons(8, 0), EIGHT, 1e-5)

    @pytest.mark.parametrize("num_envs", [1, 2, 4])
    def test_workers_divide_them(self, num_envs):
        workers = 8 // num_envs
        parts = [EpsilonLadder() for _ in range(workers)]
        for slot, part in enumerate(parts):
            part.take_place(slot, workers, num_envs)
        found = np.concatenate([part.epsilons(num_envs, 0) for part in parts])
        np.testing.assert_allclose(found, EIGHT, 1e-5)

    def test_one_alone_explores_as_the_first(self):
        np.testing.assert_allclose(EpsilonLadder().epsilons(1, 0), [0.4])

    def test_rates_are_played(self):
        values = tf.tile([[1.0, 0.0]], [2, 1])
        ladder = EpsilonLadder(base=0.9, alpha=60.0)  # 0.9 and 0.0016
        actions = np.stack([ladder(values, 0, [0, i]) for i in range(400)])
        assert actions[:, 0].mean() == pytest.approx(0.45, abs=0.08)
        assert actions[:, 1].mean() < 0.02

    def test_config(self):
        ladder = EpsilonLadder(0.5, 3.0, 2, 9)
        again = EpsilonLadder.from_config(ladder.get_config())
        np.testing.assert_array_equal(again.epsilons(3, 0), ladder.epsilons(3, 0))

    @pytest.mark.long
    def test_a_players_are_its_own(self):
        agent = krl.agents.ApeX.for_env(
            "CartPole-v1",
            hidden=(4,),
            num_envs=2,
            buffer_size=100,
            batch_size=8,
            seed=0,
            xla=False,
        )
        env = krl.envs.make("CartPole-v1", num_envs=2)
        player = Player(agent, env, "transitions", Place(1, 4, 0, 0), 4)
        block = player.play(np.asarray(player.flat.read()), 0)
        assert block.td_error.shape == (4, 2)
        np.testing.assert_allclose(agent.exploration.epsilons(2, 0), EIGHT[2:4], 1e-5)


def test_settings_of_the_papers():
    agent = krl.agents.ApeX.for_env("CartPole-v1", buffer_size=1000)
    assert (agent.double, agent.buffer.n_step, agent.buffer.alpha) == (True, 3, 0.6)
    assert agent.batch_size == 512
    impala = krl.agents.IMPALA.for_env("CartPole-v1")
    assert (impala.vtrace, impala.rollout_length, impala.num_envs) == (True, 20, 32)


@pytest.mark.parametrize(
    ("agent", "learner"),
    [
        (lambda: krl.agents.ApeX.for_env("CartPole-v1"), ReplayLearner),
        (lambda: krl.agents.ApeXDPG.for_env("Pendulum-v1"), ReplayLearner),
        (lambda: krl.agents.SAC.for_env("Pendulum-v1"), ReplayLearner),
        (lambda: krl.agents.DPPO.for_env("Pendulum-v1"), RolloutLearner),
        (lambda: krl.agents.IMPALA.for_env("CartPole-v1"), StaleRolloutLearner),
        (lambda: krl.agents.A3C.for_env("CartPole-v1"), GradientServer),
    ],
)
def test_what_becomes_of_an_agent(agent, learner):
    assert learner_of(agent(), Workers(2)) is learner


def test_averages_are_an_option():
    agent = krl.agents.DPPO.for_env("CartPole-v1")
    assert learner_of(agent, Workers(2, average_gradients=True)) is GradientLearner


class TestWorkers:
    def test_a_number_is_enough(self):
        assert workers_of(3) == Workers(3)
        assert workers_of(None) is None

    @pytest.mark.parametrize(
        ("keywords", "match"),
        [
            ({"count": 0}, "`workers` to be an integer >= 1"),
            ({"count": 2.5}, "`workers` to be an integer >= 1"),
            ({"count": 2, "cpus": 0.0}, "`cpus`"),
            ({"count": 2, "block": 0}, "`block`"),
            ({"count": 2, "time_limit": -1.0}, "`time_limit`"),
            ({"count": 2, "ordered": "yes"}, "`ordered`"),
            ({"count": 2, "address": 8265}, "`address`"),
        ],
    )
    def test_bad_input(self, keywords, match):
        with pytest.raises(ValueError, match=match):
            Workers(**keywords)


def square():
    """`(agent, env, w)`: the loss is w^2, since inputs are multiplied by zeros."""
    inputs = keras.Input([3])
    zeros = keras.layers.Dense(
        2, use_bias=False, kernel_initializer="zeros", trainable=False
    )(inputs)
    value = keras.layers.Dense(1, bias_initializer="ones")
    network = keras.Model(inputs, [zeros, value(zeros)])
    env = Scripted([3])
    agent = Square.for_env(
        env, network=network, optimizer=keras.optimizers.SGD(0.1), workers=1,
        max_gradient_norm=None, rollout_length=5, num_envs=1, seed=0, xla=False,
    )  # fmt: skip
    return agent, env, value.bias


@pytest.mark.long
def test_two_stale_pushes_on_w_squared(local):
    """w = 1, rate 0.1: two gradients at 1 give 0.6; a third, at 0.8, 0.44."""
    agent, env, weight = square()
    loop = agent.loop_on(env, workers=Workers(2, in_flight=2, ordered=True))
    found = []
    for _ in range(3):
        loop.run(1)
        found.append(float(weight[0]))
    np.testing.assert_allclose(found, [0.8, 0.6, 0.44], atol=1e-6)


def test_without_ray_there_is_a_sentence(monkeypatch):
    import sys

    from kerasrl2.distributed import cluster

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    with pytest.raises(ImportError, match=r'pip install "kerasrl2\[ray\]"'):
        cluster.ray_module()
