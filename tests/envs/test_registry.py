"""Tests of `kerasrl2.envs.registry`."""

import subprocess
import sys

import gymnasium
import pytest

from kerasrl2.envs import (
    Environment,
    GymnasiumEnvironment,
    TensorFlowEnvironment,
    ids,
    make,
    register,
    registry,
)
from kerasrl2.envs.exact import Chain
from tests.envs.worlds import ThreeSteps


@pytest.mark.parametrize("id", ids())
def test_auto_prefers_tensorflow(id):
    env = make(id, num_envs=3)
    assert isinstance(env, TensorFlowEnvironment)
    assert (env.id, env.num_envs, env.in_graph) == (id, 3, True)
    env.close()


def test_auto_falls_back_to_gymnasium():
    env = make("FrozenLake-v1", num_envs=2, is_slippery=False)
    assert isinstance(env, GymnasiumEnvironment)
    assert (env.id, env.num_envs, env.in_graph) == ("FrozenLake-v1", 2, False)
    assert not env.envs[0].spec.kwargs["is_slippery"]


def test_backend_forces():
    env = make("CartPole-v1", backend="gymnasium", max_episode_steps=7)
    assert isinstance(env, GymnasiumEnvironment)
    assert env.envs[0].spec.max_episode_steps == 7
    assert isinstance(make("CartPole-v1", backend="tensorflow"), TensorFlowEnvironment)


def test_skips_gymnasiums_slow_checker():
    env = make("CartPole-v1", backend="gymnasium").envs[0]
    assert "PassiveEnvChecker" not in str(env)


def test_callables_receive_the_keywords():
    assert make(ThreeSteps, num_envs=2).num_envs == 2
    factory = lambda limit: gymnasium.wrappers.TimeLimit(ThreeSteps(), limit)  # noqa: E731
    assert "TimeLimit" in str(make(factory, limit=2).envs[0])


def test_an_environment_is_returned_as_it_is():
    env = Chain(num_envs=3)
    for keywords in ({}, {"num_envs": 3}, {"backend": "tensorflow"}):
        assert make(env, **keywords) is env
    for keywords in ({"num_envs": 1}, {"backend": "gymnasium"}, {"uniform_start": 1}):
        with pytest.raises(ValueError, match=r"no other settings.*num_envs=3"):
            make(env, **keywords)


@pytest.mark.parametrize(
    ("id", "keywords", "message"),
    [
        ("Chian-5", {}, "Did you mean 'Chain-5'"),
        ("Cartpole-v1", {}, "Did you mean 'CartPole-v1'"),
        ("CartPole-v7", {}, "Environment version `v7`.* Did you mean 'CartPole-v"),
        ("FrozenLak-v1", {}, "Did you mean 'FrozenLake-v1'"),
        ("no/Such-v0", {}, "Namespace no not found"),
        ("not an id", {}, "Malformed"),
        ("Chain-5", {"backend": "gymnasium"}, "Expected an id of Gymnasium. "),
        ("Taxi-v4", {"backend": "tensorflow"}, "with a TensorFlow version: Acrobot-v1"),
        ("Pendulm-v1", {"backend": "tensorflow"}, "Did you mean 'Pendulum-v1'"),
        ("CartPole-v1", {"backend": "tensorflw"}, "Did you mean 'tensorflow'"),
        ("CartPole-v1", {"render_mode": "human"}, 'render_mode.*backend="gymnasium"'),
        ("CartPole-v1", {"num_envs": 0}, "`num_envs` to be an integer >= 1"),
        (3, {}, "Received: env=3"),
    ],
)
def test_errors_help(id, keywords, message):
    with pytest.raises(ValueError, match=message):
        make(id, **keywords)


@pytest.mark.long
def test_a_missing_package_gives_the_command():
    commands = {
        "ALE/Pong-v5": "kerasrl2[atari]",
        "PongNoFrameskip-v4": "kerasrl2[atari]",
        "Ant-v5": "kerasrl2[mujoco]",
        "LunarLander-v3": "kerasrl2[box2d]",
    }
    code = f"""
import sys
for name in ("ale_py", "mujoco", "Box2D"):
    sys.modules[name] = None
from kerasrl2.envs import make
for id in {list(commands)}:
    try:
        make(id)
    except ImportError as error:
        print(error)
"""  # in a process of its own: the packages may be here, and imported
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.stdout.splitlines() == [
        f'{id} needs a missing package: pip install "{extra}"'
        for id, extra in commands.items()
    ]


def test_a_module_can_be_imported_on_the_way():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        make("no_such_module:X-v0")
    env = make("tests.envs.registers:Registered-v0", num_envs=2)
    assert env.num_envs == 2
    assert isinstance(env.envs[0].unwrapped, ThreeSteps)


def test_register(monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    register("Mine-1", lambda num_envs: Chain(num_envs, id="Mine-1"))
    assert "Mine-1" in ids()
    assert make("Mine-1", num_envs=2).num_envs == 2
    with pytest.raises(ValueError, match=r"not in use yet. Received: 'Mine-1'"):
        register("Mine-1", Chain)
    register("Wrong-1", lambda num_envs: ThreeSteps())
    with pytest.raises(ValueError, match="factory of Wrong-1 to return"):
        make("Wrong-1")


def test_ids_are_sorted():
    assert ids() == sorted(ids())
    assert issubclass(GymnasiumEnvironment, Environment)
