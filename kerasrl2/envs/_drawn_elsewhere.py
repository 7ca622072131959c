"""Environments that are played and drawn in a process without TensorFlow."""

import os

import gymnasium

from kerasrl2.envs._subprocess import RemoteEnv

TIME_LIMIT = 120.0  # seconds for a step and its picture


class DrawnElsewhere(gymnasium.Env):
    """A `gymnasium.Env` in a process of its own, which also renders it.

    MuJoCo draws with OpenGL. Mesa's, where there is no graphics card, and TensorFlow
    each bring a compiler that crashes in a process with the other.

    Args:
        factory: Callable without arguments that returns a `gymnasium.Env` with
            `render_mode="rgb_array"`; it is called in the process.
    """

    render_mode = "rgb_array"

    def __init__(self, factory):
        self._remote, self._picture = RemoteEnv(factory, TIME_LIMIT), None
        self._remote.wait_until_made()
        self.observation_space = self._remote.observation_space
        self.action_space = self._remote.action_space

    def reset(self, *, seed=None, options=None):
        try:
            result, self._picture = self._told("drawn_reset", seed, options)
        except Exception as error:
            raise RuntimeError(
                f"Expected a picture. Received: {type(error).__name__}: {error}. "
                "MuJoCo draws with OpenGL: without a screen install libEGL (Debian: "
                "`apt install libegl1`), or set MUJOCO_GL to `egl` or `osmesa`."
            ) from error
        return result

    def step(self, action):
        result, self._picture = self._told("drawn_step", action)
        return result

    def render(self):
        return self._picture

    def close(self):
        self._remote.close()

    def _told(self, command, *arguments):
        self._remote.ask(command, *arguments)
        return self._remote.answer()


def needs_it(env):
    """Whether to draw a `gymnasium.Env` here could crash: MuJoCo's, on Linux or macOS.

    Those of other packages, such as Gymnasium-Robotics, are known by their renderer.

    Args:
        env: `gymnasium.Env`.
    """
    modules = [cls.__module__.split(".") for cls in type(env.unwrapped).__mro__]
    mujoco = any("mujoco" in parts for parts in modules)
    return os.name == "posix" and (mujoco or hasattr(env.unwrapped, "mujoco_renderer"))
