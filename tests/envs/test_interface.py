"""Tests of what is no single Gymnasium environment, and of environments of old."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from kerasrl2 import envs
from kerasrl2.envs import checking
from kerasrl2.errors import EnvironmentFailure
from tests.envs.worlds import SEED, Spaces, ThreeSteps, play

BOX, TWO = spaces.Box(-1.0, 1.0, [1]), spaces.Discrete(2)


class Pool(ThreeSteps):
    """As EnvPool of old: a `gymnasium.Env` that is a batch and does not tell how."""

    num_envs = 4

    def send(self, action):
        raise NotImplementedError

    def recv(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    "give", [lambda: Pool(), lambda: Pool], ids=["object", "class"]
)
def test_a_batch_that_does_not_declare_its_mode_is_told_what_to_do(give):
    with pytest.raises(ValueError, match=r"Received: Pool with .*=None\. Look"):
        envs.make(give())


class OfOld:
    """An environment of gym, not of Gymnasium."""

    observation_space, action_space = BOX, TWO

    def reset(self):
        return np.zeros(1, np.float32)

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, {}


class OldReset(OfOld, gymnasium.Env):
    """Derived from the right class, with methods of old."""


class OldResult(OldReset):
    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32)


class OldStep(OldReset):
    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}


@pytest.mark.parametrize("env", [OfOld, OfOld()], ids=["callable", "object"])
def test_an_environment_of_another_class_is_told_which(env):
    with pytest.raises(ValueError, match="Derive its class from it"):
        envs.make(env)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (OldReset, r"`reset\(\)` is what gym had before version 0.26: take"),
        (OldResult, r"Received: ndarray. An observation alone is what gym returned"),
        (OldStep, r"a tuple of 4. \(observation, reward, done, info\) is what gym"),
    ],
)
@pytest.mark.parametrize(
    "wrapped", [lambda env: env, gymnasium.wrappers.OrderEnforcing]
)
def test_methods_of_old_are_named(env, message, wrapped):
    with pytest.raises(EnvironmentFailure, match=message):
        play(envs.make(lambda: wrapped(env())), [[0]])


@pytest.mark.parametrize("name", ["observation_space", "action_space"])
@pytest.mark.parametrize("how", ["missing", "None"])
def test_a_missing_space_is_named(name, how):
    class Lacks(Spaces):
        def __init__(self):
            super().__init__(BOX, TWO)
            setattr(self, name, None)
            if how == "missing":
                delattr(self, name)

    with pytest.raises(ValueError, match=f"Expected `{name}` of Lacks to be a space"):
        envs.make(Lacks)
    with pytest.raises(ValueError, match=f"Received: {name}=None"):
        envs.make(Lacks())
    (found,) = checking.check(Lacks)
    assert (found.severity, found.what) == ("error", f"its `{name}` is None")


@pytest.mark.parametrize("fault", ["raises", "no environment", "spaces", "codec"])
def test_what_was_made_before_a_fault_is_closed(fault):
    made = []

    def make():
        env = ThreeSteps()
        made.append(env)
        if len(made) == 2 and fault == "raises":
            raise ZeroDivisionError
        if len(made) == 2 and fault == "spaces":
            env.action_space = TWO
        if fault == "codec":
            env.action_space = spaces.Text(2)
        none = len(made) == 2 and fault == "no environment"
        return None if none else env

    with pytest.raises((ValueError, ZeroDivisionError)):
        envs.make(make, num_envs=2)
    assert made[0].closed == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda n: envs.make("CartPole-v1", num_envs=n),
        lambda n: envs.make("CartPole-v1", num_envs=n, backend="gymnasium"),
        lambda n: envs.GymnasiumEnvironment("CartPole-v1", n, subprocess=True),
    ],
    ids=["TensorFlow", "Gymnasium", "processes"],
)
def test_copies_that_do_not_fit_into_memory_are_refused(make, monkeypatch):
    monkeypatch.setattr("kerasrl2._memory.available_memory", lambda: 10**9)
    with pytest.raises(ValueError, match="`num_envs` that fits into memory") as error:
        make(10**8)
    assert "num_envs=100,000,000" in str(error.value)
    assert "Choose at most" in str(error.value)
    envs.make("CartPole-v1", num_envs=100_000).reset(SEED)
