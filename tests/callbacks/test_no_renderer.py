"""Environments that give no pictures: one clear error each, and nothing else."""

import gymnasium
import numpy as np
import pytest

from kerasrl2.callbacks import record_video


class Dark(gymnasium.Env):
    """No keyword `render_mode`."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, True, False, {}


class Unfinished(Dark):
    """Takes the mode, but has no renderer."""

    def __init__(self, render_mode=None):
        self.render_mode = render_mode


class Silent(Unfinished):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def render(self):
        """Nothing."""


class Undrawn(Unfinished):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def render(self):
        raise gymnasium.error.DependencyNotInstalled("pygame is not installed")


class Agent:
    def act(self, observation):
        return np.zeros(1, np.int64)


for kind in (Dark, Unfinished, Silent, Undrawn):
    gymnasium.register(f"{kind.__name__}NoPicture-v0", kind, max_episode_steps=5)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "Dark",
            ValueError,
            "whose constructor has no such keyword. Add it, and a met",
        ),
        ("Unfinished", ValueError, "no such renderer: `render` gave NoneType"),
        ("Silent", ValueError, "no such renderer: `render` gave NoneType"),
        ("Undrawn", ImportError, r'pygame: pip install "kerasrl2\[video\]"'),
    ],
)
def test_ids(name, error, message, tmp_path, capfd):
    with pytest.raises(error, match=message):
        record_video(Agent(), f"{name}NoPicture-v0", tmp_path / "a.gif")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [Dark, Unfinished, Silent])
def test_callables(kind, tmp_path):
    with pytest.raises(ValueError, match="Expected an environment"):
        record_video(Agent(), kind, tmp_path / "a.gif")


def test_no_words_of_sdl_on_the_terminal(tmp_path, monkeypatch, capfd):
    pytest.importorskip("pygame")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    options = {"backend": "gymnasium", "max_steps": 2}
    record_video(Agent(), "CartPole-v1", tmp_path / "a.gif", **options)
    assert capfd.readouterr() == ("", "")
