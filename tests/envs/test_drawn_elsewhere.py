"""Environments that OpenGL draws are played in another process to be recorded."""

import os

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from kerasrl2.agents import PPO
from kerasrl2.callbacks import record_episode
from kerasrl2.callbacks._episodes import Episodes
from kerasrl2.envs._drawn_elsewhere import DrawnElsewhere, needs_it
from kerasrl2.envs.drawn import make_drawn


class Robot(gymnasium.Env):
    """Ends after three steps; a picture shows its process, the step and the action."""

    observation_space = spaces.Box(0.0, 9.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        self.t, self.action = 0, 0.0
        return self._observation(), {"unpicklable": lambda: None}

    def step(self, action):
        self.t, self.action = self.t + 1, float(action[0])
        return self._observation(), 0.5, self.t == 3, False, {}

    def render(self):
        row = [os.getpid() % 256, self.t, int(100 * self.action) + 100]
        return np.full([8, 8, 3], row, np.uint8)

    def _observation(self):
        return np.array([self.t], np.float32)


# Sent by value, as of a module that the other process need not have.
Robot.__module__ = "robots.mujoco.robot"


class Player:
    def act(self, observation):
        return observation / 10.0


@pytest.fixture(scope="module")
def drawn():
    env = make_drawn(Robot)
    yield env
    env.close()


@pytest.mark.long
def test_pictures_are_of_another_process_and_of_the_last_state_too(drawn):
    assert isinstance(drawn, DrawnElsewhere)
    played = Episodes(Player(), drawn, max_steps=9, seed=0)
    pictures = np.array([picture[0, 0] for picture in played.pictures(2)])
    assert played.returns == [1.5, 1.5]
    assert (pictures[:, 0] == drawn._remote.process.pid % 256).all()
    np.testing.assert_array_equal(pictures[:, 1], [0, 1, 2, 3] * 2)
    np.testing.assert_array_equal(pictures[:, 2], [100, 100, 110, 120] * 2)


@pytest.mark.long
def test_its_process_ends_with_the_recording(tmp_path, monkeypatch):
    made = []

    class Watched(DrawnElsewhere):
        def __init__(self, factory):
            super().__init__(factory)
            made.append(self)

    monkeypatch.setattr("kerasrl2.envs.drawn.DrawnElsewhere", Watched)
    score, path = record_episode(Player(), Robot, tmp_path / "robot.gif")
    assert score == 1.5
    assert path.exists()
    assert [env._remote.process.poll() is not None for env in made] == [True]


def test_others_and_given_ones_stay_in_this_process():
    given = Robot("rgb_array")
    assert make_drawn(given) is given

    class Other(gymnasium.Env):  # of a package without MuJoCo in its names
        mujoco_renderer = None

    assert needs_it(Other())
    env = make_drawn("FrozenLake-v1")
    assert not needs_it(env)
    assert not isinstance(env, DrawnElsewhere)
    env.close()


def test_an_exception_of_the_other_process_is_raised(drawn):
    drawn.reset(seed=0)
    with pytest.raises(TypeError):
        drawn.step(None)


class Blind(Robot):
    def render(self):
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")


Blind.__module__ = Robot.__module__


@pytest.mark.long
def test_opengl_is_missing(tmp_path):
    with pytest.raises(RuntimeError, match=r"glGetError.*libegl1.*MUJOCO_GL"):
        record_episode(Player(), Blind, tmp_path / "robot.gif")


@pytest.mark.long
def test_half_cheetah(tmp_path):
    pytest.importorskip("mujoco")
    agent = PPO.for_env("HalfCheetah-v5", hidden=(4,), seed=0)
    try:
        score, path = record_episode(
            agent, "HalfCheetah-v5", tmp_path / "cheetah.gif", max_steps=5
        )
    except RuntimeError as error:  # said, and nothing crashed
        pytest.skip(f"OpenGL cannot draw here: {error}")
    assert np.isfinite(score)
    assert path.stat().st_size > 1000
