"""Who uses what needs an extra that is not installed reads one sentence with `pip`.

Export to ONNX, games of PettingZoo, MP4 and Optuna are tested where they are at home,
the command line without Ray in `tests/cli`.
"""

import sys

import gymnasium
import pytest

import kerasrl2 as krl
from kerasrl2.envs.atari import single_game


@pytest.fixture
def without(monkeypatch):
    """A function that makes the import of a package fail."""

    def remove(package, *importers):
        """Removes it, and modules that have imported it already."""
        for name in list(sys.modules):
            if name.startswith((package, *importers)):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return remove


def make(id, **keywords):
    return lambda: krl.envs.make(id, num_envs=1, **keywords)


def record(id, path):
    agent = krl.agents.RandomAgent.for_env(id)
    return lambda: krl.callbacks.record_video(
        agent, id, path, max_steps=2, backend="gymnasium"
    )


BOX2D = "gymnasium.envs.box2d"
MUJOCO = "gymnasium.envs.mujoco"
PHYS2D = "gymnasium.envs.phys2d"


@pytest.mark.parametrize(
    ("packages", "use", "extra"),
    [
        (["Box2D", BOX2D], make("LunarLander-v3"), "kerasrl2[box2d]"),
        (["pygame", BOX2D], make("CarRacing-v3"), "kerasrl2[box2d]"),
        (["mujoco", MUJOCO], make("HalfCheetah-v5"), "kerasrl2[mujoco]"),
        (["ale_py"], make("ALE/Pong-v5"), "kerasrl2[atari]"),
        (
            ["ale_py"],
            lambda: krl.envs.AtariEnvironment("ALE/Pong-v5", 2),
            "kerasrl2[atari]",
        ),
        (["cv2"], lambda: single_game("ALE/Pong-v5"), "kerasrl2[atari]"),
        (["ale_py"], lambda: single_game("ALE/Pong-v5"), "kerasrl2[atari]"),
        (
            ["jax", "gymnasium.envs.phys2d"],
            make("phys2d/CartPole-v1"),
            "gymnasium[jax]",
        ),
        (
            ["ray"],
            lambda: krl.populations.remote_members(lambda index: None, 2),
            "kerasrl2[ray]",
        ),
        (
            ["ray"],
            lambda: krl.distributed.collect(
                krl.agents.A2C.for_env("CartPole-v1"), "CartPole-v1", 100, workers=2
            ),
            "kerasrl2[ray]",
        ),
        (
            ["rliable"],
            lambda: krl.plotting.probability_of_improvement([1.0, 2.0], [2.0, 3.0]),
            "kerasrl2[report]",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_library(packages, use, extra, without):
    without(*packages)
    with pytest.raises(ImportError) as raised:
        use()
    said = str(raised.value)
    assert "pip install" in said
    assert extra in said
    assert said.count("pip install") == 1
    assert "halted" not in said


@pytest.mark.parametrize("id", ["CartPole-v1", "FrozenLake-v1"])
def test_drawing(id, tmp_path, without):
    use = record(id, tmp_path / "a.gif")
    without("pygame")
    message = r'draws with a missing package, pygame: pip install "kerasrl2\[video\]"$'
    with pytest.raises(ImportError, match=message):
        use()
    assert list(tmp_path.iterdir()) == []


def test_a_wrapper(without):
    without("cv2")
    wrapper = "ResizeObservation", {"shape": (8, 8)}
    with pytest.raises(ImportError, match=r"needs a missing .*`pip install \"gymn"):
        krl.envs.make(Screens, num_envs=1, wrappers=[wrapper])


class Screens(gymnasium.Env):
    """Black pictures."""

    observation_space = gymnasium.spaces.Box(0, 255, [16, 16, 3], "uint8")
    action_space = gymnasium.spaces.Discrete(2)
