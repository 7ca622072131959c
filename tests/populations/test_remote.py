"""Members in processes of their own, over Ray: the same run as in this process."""

import importlib.util
import os
import signal
import sys

import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.distributed import Workers, cluster
from kerasrl2.populations import AgentMember, Population, remote_members
from tests.populations.toys import Quadratic

RANGES = {"learning_rate": (1e-4, 1e-1)}


def member(index):
    agent = krl.agents.A2C.for_env(
        "CartPole-v1", hidden=(8,), num_envs=2, seed=index, xla=False
    )
    return AgentMember(agent, "CartPole-v1")


def broken(index):
    raise ValueError(f"no member {index}")


class Fatal(Quadratic):
    def train(self, steps):
        os.kill(os.getpid(), signal.SIGKILL)


def fatal(index):
    return Fatal(0.1)


@pytest.fixture(scope="module")
def ray():
    """Ray, also if the tests of workers have started it in this process."""
    if importlib.util.find_spec("ray") is None:  # not imported before it is on loopback
        pytest.skip("no Ray")
    ray = cluster.join(Workers(1, cpus=0.1))
    yield ray
    cluster.leave(ray)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
class TestOverRay:
    def test_the_same_run_as_here(self, ray):
        runs = []
        for members in (
            [member(index) for index in range(2)],
            remote_members(member, 2, cpus=0.5),
        ):
            population = Population(members, RANGES)
            population.draw_numbers()
            history = population.fit(generations=3, steps=80).history
            runs.append((history, [m.get_state() for m in members]))
        (here, states), (there, remote_states) = runs
        assert here == there
        assert any(donor is not None for row in here["copied_from"] for donor in row)
        for ours, theirs in zip(states, remote_states, strict=True):
            assert ours.keys() == theirs.keys()
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name], name)
        for one in members:
            one.close()
        with pytest.raises(RuntimeError, match=r"Member 0 .* was closed.*resume"):
            members[0].train(80)

    def test_a_lost_member_is_replaced_and_trains_the_generation_again(self, ray):
        members = remote_members(member, 2, cpus=0.3)
        population = Population(members, RANGES)
        population.draw_numbers()
        population.fit(generations=1, steps=80)
        before = [one.get_state() for one in members]
        rates = population.numbers()
        killed = members[1]._actor
        ray.kill(killed)  # as SIGKILL
        with pytest.warns(UserWarning, match=r"Member 1 .* has lost its process"):
            assert members[1].get_numbers(list(RANGES)) == rates[1]
        for name, value in members[1].get_state().items():
            np.testing.assert_array_equal(value, before[1][name], name)
        wait = members[1].begin(80)
        ray.kill(members[1]._actor)
        with pytest.warns(UserWarning, match=r"Member 1 .* has lost its process"):
            assert np.isfinite(wait())
        after = members[1].get_state()
        assert any((after[name] != before[1][name]).any() for name in after)
        history = population.fit(generations=1, steps=80)
        assert history.history["generation"] == [1, 2]
        for one in members:
            one.close()

    def test_a_member_that_is_lost_twice_ends_the_run(self, ray):
        members = remote_members(fatal, 2, cpus=0.1)
        with (
            pytest.warns(UserWarning, match=r"Member 1 .* has lost its process"),
            pytest.raises(RuntimeError, match=r"Member 1 .* in its place, too"),
        ):
            members[1].train(1)
        for one in members:
            one.close()

    def test_errors(self, ray):
        with pytest.raises(RuntimeError, match=r"could not be made(.|\n)*no member 0"):
            remote_members(broken, 2, cpus=0.1)
        with pytest.raises(ValueError, match=r"at most .* processors.*cpus=1000"):
            remote_members(member, 2, cpus=1000)
        toys = remote_members(lambda i: Quadratic(0.1 * i), 2, cpus=0.1)
        with pytest.raises(RuntimeError, match=r"Member 1 .*AttributeError.*nothing"):
            toys[1].get_numbers(["nothing"])
        for one in toys:
            one.close()


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "kerasrl2\[ray\]"'):
        remote_members(member, 2)
