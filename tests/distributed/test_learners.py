"""Learners of what workers have played: counts, equality, order; without Ray."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.distributed import Workers
from kerasrl2.types import Rollout
from tests.distributed.stopping import StopAfter

ENV = "CartPole-v1"
LONG = pytest.mark.long


def dqn(**settings):
    known = {"prioritized": True, "n_step": 3, "num_envs": 2, "hidden": (8,)}
    known |= {"learning_starts": 30, "batch_size": 8, "seed": 3, "xla": False}
    return krl.agents.DQN.for_env(ENV, **{**known, **settings})


def ppo(**settings):
    known = {"hidden": (8,), "num_envs": 2, "rollout_length": 8, "batch_size": 16}
    known |= {"seed": 3, "num_epochs": 2, "normalize_observations": True, "xla": False}
    return krl.agents.PPO.for_env(ENV, **{**known, **settings})


def a2c(**settings):
    known = {"hidden": (8,), "num_envs": 2, "rollout_length": 4, "seed": 3}
    return krl.agents.A2C.for_env(ENV, **{**known, "xla": False, **settings})


def fit(agent, workers, steps=160, **options):
    return agent.fit(
        ENV, steps=steps, epochs=2, verbose=0, workers=workers, **options
    ).history


def weights(agent):
    return [w.numpy() for w in agent.weights]


def assert_equal(one, other, tolerance=0.0):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, tolerance, tolerance)


class TestCounts:
    @pytest.mark.parametrize(
        ("frequency", "workers"),
        [(3, 2), *(pytest.param(*more, marks=LONG) for more in ((1, 1), (1, 3)))],
    )
    def test_transitions_and_updates_of_replay_are_exact(
        self, local, frequency, workers
    ):
        agent = dqn(train_frequency=frequency, gradient_steps=2)
        history = fit(agent, Workers(workers, block=5))
        steps = int(agent.env_steps)
        assert steps == history["env_steps"][-1] == int(agent.buffer.added()) == 160
        size = frequency * 2
        updates = 2 * max(0, steps // size - -(-30 // size))
        assert int(agent.optimizer.iterations) == updates
        assert {"lag", "learner_waits", "updates_per_second"} <= set(history)

    @LONG
    def test_none_crosses_from_one_worker_to_another(self, local):
        agent = dqn()
        fit(agent, Workers(2, block=5))
        batch = agent.buffer.get(np.arange(160))
        change = np.abs(batch.next_observation - batch.observation)
        assert change.max() < 4.0  # an environment moves by little in three steps
        assert float(tf.reduce_min(batch.discount[batch.discount > 0])) > 0.97

    @LONG
    def test_episodes_are_those_that_were_played(self, local):
        agent = dqn()
        history = fit(agent, Workers(2, block=5), steps=400)
        counted = np.nansum(np.multiply(history["episodes"], history["episode_length"]))
        assert 0 < counted <= 400

    @LONG
    def test_callbacks_are_told_of_each_episode(self, local):
        told = []

        class Episodes(keras.callbacks.Callback):
            def on_episode_end(self, episode, logs):
                told.append(logs["return"])

        history = fit(dqn(), Workers(2, block=5), steps=400, callbacks=[Episodes()])
        assert len(told) == sum(history["episodes"])


class TestTogether:
    """The rollouts of all workers, learned from together."""

    @LONG
    def test_one_worker_is_the_loop_without(self, local):
        alone, other = ppo(), ppo()
        fit(alone, None)
        fit(other, 1)
        assert_equal(alone, other, 1e-6)

    @pytest.mark.long
    def test_several_are_one_loop_of_all_their_environments(self, local):
        """To 1e-6 a step, normalised advantages included."""
        agent, alone = ppo(), ppo(num_envs=4)
        loop = agent.loop_on(ENV, workers=2)
        seen = []
        absorb = loop.absorb
        loop.absorb = lambda v, f, *rest: seen.append((v, f)) or absorb(v, f, *rest)
        for _ in range(3):
            loop.run(1)
            values, fields = seen.pop()
            one = alone.loop_on(krl.envs.make(ENV, num_envs=4))
            carry = one._values()._replace(
                iteration=values.iteration, actor=(), episodes=values.episodes
            )
            seed = one._seeds(values.iteration)[1]
            one._learn_from(carry, Rollout(**fields), seed)
            assert_equal_without_count(agent, alone)

    @LONG
    def test_all_play_with_the_same_weights(self, local):
        agent = ppo()
        history = fit(agent, 2)
        assert history["lag"] == [0.0, 0.0]
        assert history["env_steps"] == [96, 160]

    @LONG
    def test_a_reinforce_plays_whole_episodes(self, local):
        agent = krl.agents.Reinforce.for_env(
            ENV, hidden=(8,), num_envs=2, rollout_length=64, seed=0, cut_episodes=True
        )
        history = fit(agent, 2, steps=200)
        assert sum(history["episodes"]) % 4 == 0


def assert_equal_without_count(one, other):
    for a, b in zip(one.weights, other.weights, strict=True):
        if a.name != "env_steps":
            np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-6, 1e-6, err_msg=a.path)


class TestStale:
    """One worker's rollout at a time, with V-trace."""

    @pytest.mark.long
    def test_rollouts_are_older_than_the_policy(self, local):
        agent = a2c(vtrace=True)
        history = fit(agent, Workers(2, ordered=True))
        assert history["lag"][1] == pytest.approx(3.0, abs=0.7)
        assert int(agent.optimizer.iterations) == 20
        assert history["rho"][1] <= 1.0

    @LONG
    def test_one_worker_without_lag_is_the_loop_without(self, local):
        alone, other = a2c(vtrace=True), a2c(vtrace=True)
        fit(alone, None)
        fit(other, Workers(1, in_flight=1, ordered=True))
        assert_equal(alone, other, 1e-6)


class TestServer:
    """A3C: gradients of workers, one step each."""

    def make(self, **settings):
        known = {"hidden": (8,), "num_envs": 2, "rollout_length": 4, "seed": 3}
        known |= {"workers": 1, "xla": False, "normalize_observations": True}
        return krl.agents.A3C.for_env(ENV, **{**known, **settings})

    @pytest.mark.long
    def test_every_push_counts_once(self, local):
        """N workers, M pushes each: N M steps (000-12)."""
        agent = self.make()
        fit(agent, 2, steps=160)
        assert int(agent.optimizer.iterations) == 20
        assert int(agent.env_steps) == 160

    @LONG
    def test_one_worker_without_lag_is_the_loop_without(self, local):
        alone, other = self.make(), self.make()
        fit(alone, None)
        fit(other, Workers(1, in_flight=1, ordered=True))
        assert_equal(alone, other, 1e-6)

    @pytest.mark.long
    def test_a_late_worker_resets_nothing(self, local):
        agent = self.make()
        loop = agent.loop_on(ENV, workers=2)
        loop.run(6)
        before, count = weights(agent), int(agent.optimizer.iterations)
        local[0].kill(1)  # a new one begins, with what it gets
        for a, b in zip(weights(agent), before, strict=True):
            np.testing.assert_array_equal(a, b)
        loop.run(2)
        assert int(agent.optimizer.iterations) == count + 2


class TestOrder:
    @LONG
    @pytest.mark.parametrize("make", [dqn, ppo, lambda: a2c(vtrace=True)])
    def test_a_run_repeats(self, local, make):
        runs = [make(), make()]
        for agent in runs:
            fit(agent, Workers(2, block=5, ordered=True))
        assert_equal(*runs)

    @pytest.mark.long
    def test_everyone_gets_an_equal_share(self, local):
        agent = dqn()
        loop = agent.loop_on(ENV, workers=Workers(3, block=5))
        played = []
        take = loop._take
        loop._take = lambda number: played.append(take(number)) or played[-1]
        loop.run(30)
        counts = np.bincount([slot for slot, _ in played])
        assert counts.tolist() == [10, 10, 10]

    @LONG
    def test_no_more_requests_than_allowed(self, local):
        agent = dqn()
        loop = agent.loop_on(ENV, workers=Workers(3, block=5, in_flight=4))
        loop.run(3)
        assert len(loop.asked) == 3  # one was taken and learned from
        big = agent.loop_on(ENV, workers=Workers(3, block=5))
        big.compile()
        local[-1].store_bytes = lambda: 4e3
        big.run(5)
        assert big.snapshot.block_bytes > 0
        assert big.requests_in_flight() < 6


@LONG
class TestResume:
    """2N = N, then N in another process: to the bit, with workers in turn."""

    @pytest.mark.parametrize("make", [dqn, ppo, lambda: a2c(vtrace=True)])
    def test_to_the_bit(self, local, make, tmp_path):
        workers = Workers(2, block=4, ordered=True)
        whole = make()
        fit(whole, workers, steps=320, checkpoint_dir=tmp_path / "whole")
        first = make()
        first.fit(
            ENV, steps=320, epochs=2, verbose=0, workers=workers,
            checkpoint_dir=tmp_path / "cut", callbacks=[StopAfter(160)],
        )  # fmt: skip
        assert int(first.env_steps) == 160
        second = make()
        fit(second, workers, 320, checkpoint_dir=tmp_path / "cut", resume=True)
        assert int(second.env_steps) == 320
        assert_equal(whole, second)

    def test_environments_in_python_begin_anew_with_other_seeds(self, local, tmp_path):
        import gymnasium

        def make_env():
            return gymnasium.make(ENV)

        workers = Workers(2, block=4, ordered=True)
        first = dqn()
        first.fit(
            make_env, steps=80, verbose=0, workers=workers, checkpoint_dir=tmp_path
        )
        second = dqn()
        second.fit(
            make_env, steps=160, verbose=0, workers=workers, checkpoint_dir=tmp_path,
            resume=True,
        )  # fmt: skip
        assert int(second.env_steps) == 160 == int(second.buffer.added())
        observation = second.buffer.get(np.arange(160)).observation.numpy()
        assert not np.array_equal(observation[:2], observation[80:82])


class TestReplaced:
    @pytest.mark.long
    @pytest.mark.parametrize(
        "make",
        [
            dqn,
            pytest.param(ppo, marks=LONG),
            pytest.param(lambda: a2c(vtrace=True), marks=LONG),
        ],
    )
    def test_counts_stay_exact(self, local, make):
        agent = make()
        loop = agent.loop_on(ENV, workers=Workers(2, block=5))
        loop.new_report()
        loop.run(2)
        local[0].kill(0)
        _, _, totals = loop.run(10)
        assert int(loop.carry.env_steps) == int(agent.env_steps)
        assert float(totals[2]) <= int(agent.env_steps)
        if hasattr(agent, "buffer"):
            assert int(agent.buffer.added()) == int(agent.env_steps)
