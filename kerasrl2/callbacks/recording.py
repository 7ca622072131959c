"""Recordings of episodes: animated images and videos."""

from kerasrl2._startup import native_chatter_kept_back

import contextlib
from pathlib import Path

import keras

from kerasrl2._checks import check_choice, check_positive_integer, check_range
from kerasrl2.callbacks._episodes import Episodes
from kerasrl2.callbacks._films import FORMATS, check_writable, write_film
from kerasrl2.envs.core import Environment
from kerasrl2.envs.drawn import make_drawn

_EVERY = "every_epochs", "every_episodes", "every_steps"


class RecordVideo(keras.callbacks.Callback):
    """Plays greedy episodes at intervals and saves them as a video.

    Writes `directory/episode-<env_steps>.gif`, named after the env steps the agent has
    learned from. One of `every_epochs`, `every_episodes` and `every_steps` is needed.

    Args:
        env: What to play in, see `record_video`; not the one that is trained on.
        directory: String or path; created if it does not exist.
        every_epochs: Integer >= 1 or None, epochs from one recording to the next; the
            first is made at the end of the first epoch.
        every_episodes: Integer >= 1 or None, training episodes from one recording to
            the next, made at the end of the training batch in which they ended.
        fps: Number, images per second.
        format: String, `"gif"`, `"webp"` or `"mp4"`, which needs `kerasrl2[video]`.
        max_steps: Integer >= 1, the length at which an episode is cut.
        seed: Integer, for the first state, the same in all recordings.
        every_steps: Integer >= 1 or None, env steps from one recording to the next,
            made at the end of the training batch in which they were played.
        episodes: Integer >= 1, how many a recording shows.
        backend: As in `record_video`.
        **kwargs: Passed to the environment's constructor; `wrappers`, as for
            `envs.make`.

    Attributes:
        recordings: List of `(mean return, path)`, one for each recording so far.

    Example:
    >>> import tempfile
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> recording = RecordVideo("CartPole-v1", tempfile.mkdtemp(), every_epochs=1)
    >>> history = agent.fit(
    ...     "CartPole-v1", steps=80, epochs=1, callbacks=[recording], verbose=0
    ... )
    >>> [path.name for _, path in recording.recordings]
    ['episode-80.gif']
    """

    def __init__(
        self,
        env,
        directory,
        every_epochs=None,
        every_episodes=None,
        fps=30,
        format="gif",
        max_steps=5_000,
        seed=0,
        every_steps=None,
        episodes=1,
        backend="auto",
        **kwargs,
    ):
        super().__init__()
        intervals = every_epochs, every_episodes, every_steps
        given = dict(zip(_EVERY, intervals, strict=True))
        self._unit = _check_interval(given)
        self._every = given[self._unit]
        _check_settings(format, fps, max_steps, episodes)
        self.env, self.directory = env, Path(directory)
        self.format = format
        self.recordings = []
        self._settings = {
            "fps": fps, "max_steps": max_steps, "seed": seed, "episodes": episodes,
            "backend": backend, **kwargs,
        }  # fmt: skip
        self._count = self._seen = 0  # in total, and episodes of this epoch

    def get_state(self):
        return {"episodes": self._count, "seen": self._seen}

    def set_state(self, state):
        self._count, self._seen = state["episodes"], state["seen"]

    def on_train_begin(self, logs=None):
        if self._unit == "every_steps":
            self._count = int(self.model.env_steps)

    def on_train_batch_end(self, batch, logs=None):
        if self._unit == "every_epochs":
            return
        before = self._count // self._every
        if self._unit == "every_steps":
            self._count = int(self.model.env_steps)
        else:
            self._count += int(logs["episodes"]) - self._seen
            self._seen = int(logs["episodes"])
        if self._count // self._every > before:
            self._record()

    def on_epoch_end(self, epoch, logs=None):
        self._seen = 0
        if self._unit == "every_epochs" and epoch % self._every == 0:
            self._record()

    def _record(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"episode-{int(self.model.env_steps)}.{self.format}"
        path = self.directory / name
        returns, path = record_video(self.model, self.env, path, **self._settings)
        self.recordings.append((sum(returns) / len(returns), path))


RecordEpisodes = RecordVideo  # its former name


def record_video(
    agent,
    env,
    path,
    episodes=1,
    backend="auto",
    fps=30,
    max_steps=5_000,
    seed=0,
    **kwargs,
):
    """Plays greedy episodes and saves them as an animated image or a video.

    Gymnasium's environments render images (`render_mode="rgb_array"`), those in
    TensorFlow draw themselves (`TensorFlowEnvironment.picture`). Neither needs a
    display. In an Atari game the agent observes what it was trained on and the coloured
    screen is recorded; `fps=15` is the game's own speed.

    Args:
        agent: `Agent`, or anything with its `act`.
        env: Environment id; a callable that returns a `gymnasium.Env`, with the keyword
            `render_mode` or already in this mode, or a `TensorFlowEnvironment`; or one
            of these. Of several copies the first is recorded.
        path: String or path, ends in `.gif`, `.webp` or `.mp4`, which needs the extra
            `kerasrl2[video]`.
        episodes: Integer >= 1, shown one after another.
        backend: String, which version of an id is played: `"tensorflow"`, which draws
            itself, or `"gymnasium"`; `"auto"` is Gymnasium's where it has the id, and
            pygame, with which it draws, is installed.
        fps: Number, images per second. GIF rounds the time of an image to 0.01 s:
            choose 33, 50 or 100.
        max_steps: Integer >= 1, the length at which an episode is cut. Writing 5 000
            steps of CartPole as GIF takes a gigabyte of memory, as MP4 none.
        seed: Integer >= 0, for the first state; further episodes have the next numbers.
        **kwargs: Passed to the environment's constructor; `wrappers`, as for
            `envs.make`.

    Returns:
        `(returns, path)`: a list of the undiscounted returns, and the file's path.

    Example:
    >>> import os, tempfile
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("GridBreakout-v0", seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "breakout.gif")
    >>> returns, path = record_video(agent, "GridBreakout-v0", path, 2, max_steps=5)
    >>> len(returns), path.exists()
    (2, True)
    """
    path = Path(path)
    _check_settings(path.suffix[1:], fps, max_steps, episodes)
    made = make_drawn(env, backend, **kwargs)
    try:
        played = Episodes(agent, made, max_steps, seed)
        with (
            contextlib.closing(played.pictures(episodes)) as pictures,
            # Of pygame, where there is no display.
            native_chatter_kept_back(explained=(ValueError, ImportError)),
        ):
            write_film(path, pictures, fps)
    finally:
        if made is not env and not isinstance(made, Environment):
            made.close()
    return played.returns, path


def record_episode(agent, env, path, **settings):
    """Plays one greedy episode and saves it: `record_video` with `episodes=1`.

    Args:
        agent: `Agent`, or anything with its `act`.
        env: As in `record_video`.
        path: String or path, ends in `.gif`, `.webp` or `.mp4`.
        **settings: The other keywords of `record_video`.

    Returns:
        `(episode_return, path)`: the undiscounted return and the file's path.

    Example:
    >>> import os, tempfile
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "cartpole.gif")
    >>> episode_return, path = record_episode(agent, "CartPole-v1", path, max_steps=5)
    >>> episode_return, path.exists()
    (5.0, True)
    """
    (episode_return,), path = record_video(agent, env, path, episodes=1, **settings)
    return episode_return, path


def _check_interval(given):
    """The name of the one interval that is not None."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        received = ", ".join(f"{name}={value}" for name, value in given.items())
        raise ValueError(
            "Expected one of `every_epochs`, `every_episodes` and `every_steps`. "
            f"Received: {received}"
        )
    check_positive_integer(names[0], given[names[0]])
    return names[0]


def _check_settings(format, fps, max_steps, episodes):
    check_choice("format", format, FORMATS)
    check_range("fps", fps, 0.0, open_low=True)
    check_positive_integer("max_steps", max_steps)
    check_positive_integer("episodes", episodes)
    check_writable(format)
