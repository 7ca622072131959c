"""Rainbow is a class like the others."""

import inspect

import keras
import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.agents import DQN, Rainbow
from kerasrl2.agents.keywords import keywords_of
from tests.agents.hostile import refused

__all__ = ["refused"]  # a fixture
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

QUICK = {**krl.agents.registration("rainbow").quick, "xla": False, "seed": 0}
QUICK |= {"learning_starts": 16}
PARTS = {
    "double": True, "dueling": True, "noisy": True, "distribution": "categorical",
    "prioritized": True, "alpha": 0.5, "n_step": 3,
}  # fmt: skip


class My(Rainbow):
    """Registered with nobody."""

    metric_names = (*Rainbow.metric_names, "doubled")

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        return loss, {**metrics, "doubled": 2.0 * loss}


@keras.saving.register_keras_serializable(package="tests")
class Shorter(Rainbow):
    """With defaults of its own."""

    @classmethod
    def for_env(cls, env, *, n_step=1, **hyperparameters):
        return super().for_env(env, n_step=n_step, **hyperparameters)


def same(agent, other):
    for a, b in zip(agent.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)


def test_is_a_class():
    agent = Rainbow.for_env("CartPole-v1", **QUICK)
    assert type(agent) is Rainbow
    assert isinstance(agent, DQN)
    assert issubclass(Rainbow, DQN)
    assert inspect.isclass(Rainbow)


def test_differs_from_dqn_by_its_defaults_only():
    names = keywords_of(Rainbow)
    defaults = {name: names[name].default for name in PARTS}
    assert defaults == PARTS
    others = {name: p.default for name, p in keywords_of(DQN).items()}
    changed = {n for n, p in names.items() if p.default != others[n]}
    assert changed == set(PARTS)


@pytest.mark.long
def test_learns_what_a_dqn_of_its_parts_learns():
    ours = Rainbow.for_env("CartPole-v1", **QUICK)
    theirs = DQN.for_env("CartPole-v1", **PARTS, **QUICK)
    for agent in (ours, theirs):
        agent.fit("CartPole-v1", steps=40, epochs=1, verbose=0)
    same(ours, theirs)


@pytest.mark.long
def test_saved_under_its_own_name(tmp_path):
    agent = Rainbow.for_env("CartPole-v1", **QUICK)
    agent.fit("CartPole-v1", steps=40, epochs=1, verbose=0)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    assert type(loaded) is Rainbow
    same(agent, loaded)
    loaded.fit("CartPole-v1", steps=40, epochs=1, verbose=0)


def test_files_of_earlier_versions_are_dqns(tmp_path):
    """They were saved as what `Rainbow.for_env` made then."""
    DQN.for_env("CartPole-v1", **PARTS, **QUICK).save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    assert type(loaded) is DQN
    assert loaded.double
    assert loaded.buffer.n_step == 3


@pytest.mark.long
def test_subclasses(tmp_path, refused):
    agent = My.for_env("CartPole-v1", **QUICK)
    history = agent.fit("CartPole-v1", steps=40, epochs=1, verbose=0).history
    assert history["doubled"] == pytest.approx([2.0 * v for v in history["loss"]])
    path = tmp_path / "agent.keras"
    agent.save(path)
    loaded = krl.load_agent(path, {"My": My})
    assert type(loaded) is My
    same(agent, loaded)
    refused(path, "the class 'My'")


def test_subclasses_with_other_defaults(tmp_path):
    agent = Shorter.for_env("CartPole-v1", **QUICK)
    assert (agent.buffer.n_step, agent.double) == (1, True)
    assert keywords_of(Shorter)["n_step"].default == 1
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras", {"Shorter": Shorter})
    assert type(loaded) is Shorter
    with pytest.raises(ValueError, match=r"`Shorter.for_env`.*Did you mean 'n_step'"):
        Shorter.for_env("CartPole-v1", nstep=2)
