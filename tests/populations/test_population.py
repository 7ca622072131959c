"""Tests of `kerasrl2.populations.Population`."""

import math
import time

import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.errors import CheckpointError, NonFiniteError
from kerasrl2.populations import (
    AgentMember,
    EloSelection,
    Explore,
    Population,
    TruncationSelection,
)
from tests.populations.toys import Quadratic, Scripted

ENV, INF = "CartPole-v1", math.inf
RANGES = {"learning_rate": (1e-4, 1e-1), "entropy_coefficient": (1e-4, 1e-1)}
SMALL = {"hidden": (8,), "num_envs": 2, "normalize_observations": True}


def a2c(seed, **more):
    settings = {**SMALL, "xla": False, **more}
    return krl.agents.A2C.for_env(ENV, seed=seed, **settings)


def agents(size=3, make=a2c, **more):
    return Population.of_agents(make, ENV, size, RANGES, **more)


def toys(size=6, seed=0, **more):
    """Far from the optimum, all at one side of it."""
    draws = np.random.default_rng(seed)
    members = [Quadratic(draws.uniform(0.0, 0.2)) for _ in range(size)]
    return Population(members, {"h": (0.0, 1.0)}, seed=seed, **more)


class TestToy:
    @pytest.mark.parametrize("selection", [TruncationSelection, EloSelection])
    def test_the_best_gets_near_the_optimum(self, selection):
        for seed in range(20):
            population = toys(10, seed, selection=selection())
            population.fit(generations=50, steps=1)
            best = population.members[population.best]
            assert abs(best.h - 0.5) < 0.05, seed

    def test_copies_are_recorded(self):
        population = toys()
        history = population.fit(generations=10, steps=3)
        rows = history.history
        assert rows["generation"] == [*range(1, 11)]
        assert rows["copied_from"][0] == [None] * 6
        for generation, member, donor in history.copies():
            before = rows["score"][generation - 2]
            assert before[member] == min(before)
            assert before[donor] == max(before)
        # What the scores along the lineage add up to is what the state has.
        for i, member in enumerate(population.members):
            line = history.schedule("score", i)
            assert float(member.total) == pytest.approx(sum(line))
            assert float(member.trained) == 30  # its own

    def test_donors_are_read_before_anything_is_copied(self):
        members = [Quadratic(h) for h in (0.1, 0.2, 0.3)]
        chain = {0: 1, 1: 2}
        population = Population(
            members, {"h": (0.0, 1.0)}, lambda *_: chain, Explore((1.0,), 0.0)
        )
        population.fit(generations=1, steps=1)
        totals = [float(m.total) for m in members]
        population.fit(generations=1, steps=1)
        assert [m.h for m in members] == [0.2, 0.3, 0.3]
        scores = population.history.history["score"][-1]
        np.testing.assert_allclose(
            [float(m.total) for m in members],
            np.add([totals[1], totals[2], totals[2]], scores),
        )
        assert population.history.lineage(0) == [1, 0]

    def test_a_member_that_failed_is_the_worst(self):
        members = [Scripted(0.5, [1.0, 1.0]), Scripted(0.4, [math.nan, 2.0])]
        population = Population(members, {"h": (0.0, 1.0)}, explore=Explore((1.0,), 0))
        history = population.fit(generations=2, steps=1).history
        assert history["score"] == [[1.0, -INF], [1.0, 2.0]]
        assert history["copied_from"][1] == [None, 0]

    def test_if_all_failed_the_run_ends(self):
        members = [Scripted(0.5, [-INF]), Scripted(0.4, [-INF])]
        for member in members:
            member.failure = NonFiniteError("NaN")
        with pytest.raises(NonFiniteError):
            Population(members, {"h": (0.0, 1.0)}).advance(1)

    def test_members_elsewhere_begin_before_the_first_is_waited_for(self):
        told = []

        class Remote(Quadratic):
            def begin(self, steps):
                told.append("begin")
                return lambda: told.append("wait") or self.train(steps)

        population = Population([Remote(0.1), Remote(0.2)], {"h": (0.0, 1.0)})
        population.advance(1)
        assert told == ["begin", "begin", "wait", "wait"]

    @pytest.mark.parametrize("selection", [TruncationSelection, EloSelection])
    def test_resumed(self, tmp_path, selection):
        whole = toys(selection=selection()).fit(9, 1).history
        toys(selection=selection()).fit(4, 1, tmp_path)
        rows = []
        again = toys(selection=selection())
        resumed = again.fit(9, 1, tmp_path, resume=True, on_generation_end=lambda p, r:
                            rows.append(r["generation"]))  # fmt: skip
        assert resumed.history == whole
        assert rows == [5, 6, 7, 8, 9]
        assert again.generation == 9


class TestAgents:
    def test_a_copy_is_the_same_to_the_bit(self):
        population = agents(2)
        population.fit(generations=1, steps=80)
        loser, donor = (member.agent for member in population.members)
        before = population.numbers()
        seeds = [agent.seed for agent in (loser, donor)]
        loops = [agent.loop_on(ENV) for agent in (loser, donor)]
        traces = [loop.num_traces for loop in loops]
        started = time.perf_counter()
        population.exploit(0, 1)
        assert time.perf_counter() - started < 0.2
        pairs = [(loser.weights, donor.weights)]
        pairs.append((loser.optimizer.variables, donor.optimizer.variables))
        compared = 0
        for ours, theirs in pairs:
            for a, b in zip(ours, theirs, strict=True):
                if a.path.endswith("learning_rate"):
                    continue
                np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)
                compared += 1
        assert compared > 15
        assert int(loser.observation_normalizer.count) > 0
        # Its own: numbers, rates, seeds; and nothing is traced or compiled again.
        assert population.numbers() == before
        assert before[0]["learning_rate"] != before[1]["learning_rate"]
        assert [agent.seed for agent in (loser, donor)] == seeds == [0, 1]
        population.advance(80)
        assert [agent.loop_on(ENV) for agent in (loser, donor)] == loops
        assert [loop.num_traces for loop in loops] == traces
        assert sum(traces) <= 1  # the second has the program of the first
        # With seeds of their own they part.
        pairs = zip(loser.weights, donor.weights, strict=True)
        assert any((a.numpy() != b.numpy()).any() for a, b in pairs)

    @pytest.mark.long
    def test_resumed_bit_for_bit(self, tmp_path):
        whole = agents()
        history = whole.fit(generations=4, steps=80)
        assert history.copies()
        agents().fit(2, 80, tmp_path)
        resumed = agents(seed=0)
        again = resumed.fit(4, 80, tmp_path, resume=True)
        assert again.history == history.history
        for ours, theirs in zip(whole.members, resumed.members, strict=True):
            a, b = ours.get_state(whole=True), theirs.get_state(whole=True)
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], name)

    @pytest.mark.long
    def test_a_replay_buffer_and_a_schedule(self, tmp_path):
        def dqn(seed):
            return krl.agents.DQN.for_env(
                ENV, hidden=(8,), seed=seed, prioritized=True, buffer_size=500,
                learning_starts=50, noisy=True,
            )  # fmt: skip

        ranges = {"learning_rate": (1e-4, 1e-2), "gamma": (0.9, 0.999)}

        def make():
            return Population.of_agents(dqn, ENV, 2, ranges)

        whole, resumed = make(), make()
        history = whole.fit(generations=4, steps=200).history
        make().fit(2, 200, tmp_path)
        # The first call knew of half the steps alone, for its schedule of beta.
        make().fit(4, 200, tmp_path / "long")
        assert resumed.fit(4, 200, tmp_path / "long", resume=True).history == history
        noise = [
            {n: v for n, v in m.get_state(whole=True).items() if "noise_state" in n}
            for m in whole.members
        ]
        assert all((noise[0][n] != noise[1][n]).any() for n in noise[0])

    def test_scores(self):
        agent = a2c(0)
        member = AgentMember(agent, ENV, episodes=2)
        assert member.train(40) == agent.evaluate(ENV, episodes=2)["return"]
        member = AgentMember(agent, ENV, score=lambda a, logs: logs["env_steps"])
        assert member.train(40) == 80.0

    @pytest.mark.long
    def test_a_bad_rate_is_no_end(self):
        population = agents(2, make=lambda seed: a2c(seed, max_gradient_norm=None))
        bad = population.members[0]
        bad.train(40)
        bad.set_numbers({"learning_rate": 1e38})
        with pytest.warns(UserWarning, match=r"Member 0.*NaN or infinity.*e\+3"):
            row = population.advance(120)
        assert row["score"][0] == -INF
        assert population.advance(40)["copied_from"][0] == 1
        assert bad.failure is None

    @pytest.mark.long
    def test_numbers_of_several_optimizers(self):
        agent = krl.agents.SAC.for_env("Pendulum-v1", hidden=(4,), buffer_size=300)
        member = AgentMember(agent, "Pendulum-v1")
        names = ["actor_learning_rate", "critic_learning_rate", "gamma", "tau"]
        numbers = member.get_numbers(names)
        assert numbers["gamma"] == 0.99
        member.set_numbers({"critic_learning_rate": 0.5, "gamma": 0.25})
        assert member.get_numbers(names) == {
            **numbers, "critic_learning_rate": 0.5, "gamma": 0.25,
        }  # fmt: skip


class TestBadInput:
    def test_one_member(self):
        with pytest.raises(ValueError, match=r"at least two members.*Received: 1"):
            Population([Quadratic(0.1)], {"h": (0, 1)})

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"hidden": (9,)}, r"member like this .*float32\[4, 8\].*\[4, 9\]"),
            ({"rollout_length": 7}, "equal structure.*member 1.*rollout_length"),
            ({"optimizer": "adam"}, "member like this"),
        ],
    )
    def test_different_structures(self, more, message):
        with pytest.raises(ValueError, match=message):
            agents(2, make=lambda seed: a2c(seed, **(more if seed else {})))

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("learn_rate", "'learn_rate' as a number of A2C.*learning_rate.*none of"),
            ("num_envs", "without|can change without compiling.*none of that name"),
            ("n_step", "none of that name"),
            ("huber_delta", "None or a schedule: begin with a number"),
        ],
    )
    def test_numbers_it_has_not(self, name, message):
        members = [AgentMember(a2c(seed), ENV) for seed in range(2)]
        with pytest.raises(ValueError, match=message):
            Population(members, {name: (0.1, 0.2)})

    def test_an_environment_for_all(self):
        import gymnasium

        with gymnasium.make(ENV) as env, pytest.raises(ValueError, match="of its own"):
            Population.of_agents(a2c, env, 2, RANGES)

    def test_arguments_of_fit(self, tmp_path):
        population = toys()
        with pytest.raises(RuntimeError, match="`fit` before `best`"):
            population.best  # noqa: B018
        for arguments, message in [
            ((0, 1), "`generations`"),
            ((1, 0), "`steps`"),
            ((1, 1, None, True), "`checkpoint_dir` with `resume`"),
        ]:
            with pytest.raises(ValueError, match=message):
                population.fit(*arguments)
        population.fit(1, 1, tmp_path)
        with pytest.raises(ValueError, match=r"or `resume=True`. Received: .* with 1"):
            population.fit(1, 1, tmp_path)
        for other, message in [
            (toys(5), "members 6. Received: 5"),
            (Population(population.members, {"total": (0, 1)}), "ranges"),
        ]:
            with pytest.raises(CheckpointError, match=message):
                other.fit(2, 1, tmp_path, resume=True)

    def test_a_checkpoint_of_an_agent(self, tmp_path):
        a2c(0).fit(ENV, 40, epochs=1, verbose=0, checkpoint_dir=tmp_path)
        with pytest.raises(CheckpointError, match=r"of a population. Received"):
            toys().fit(1, 1, tmp_path, resume=True)
