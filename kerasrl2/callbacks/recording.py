"""Animated images of episodes."""

import contextlib
import inspect
from pathlib import Path

import keras
from PIL import Image

from kerasrl2._checks import check_choice, check_positive_integer, check_range
from kerasrl2.envs._masks import with_masks
from kerasrl2.envs._spaces import codec
from kerasrl2.envs.core import Environment
from kerasrl2.envs.registry import make_single

FORMATS = ("gif", "webp")


class RecordEpisodes(keras.callbacks.Callback):
    """Plays a greedy episode at intervals and saves it as an animated image.

    Writes `directory/episode-<env_steps>.gif`, named after the env steps the agent has
    learned from. Either `every_epochs` or `every_episodes` is needed.

    Args:
        env: What to play in, see `record_episode`; not the one that is trained on.
        directory: String or path; created if it does not exist.
        every_epochs: Integer >= 1 or None, epochs from one recording to the next; the
            first is made at the end of the first epoch.
        every_episodes: Integer >= 1 or None, training episodes from one recording to
            the next, made at the end of the training batch in which they ended.
        fps: Number, images per second.
        format: String, `"gif"` or `"webp"`.
        max_steps: Integer >= 1, the length at which an episode is cut.
        seed: Integer, for the first state, the same in all recordings.
        **kwargs: Passed to the environment's constructor.

    Attributes:
        recordings: List of `(episode_return, path)`, one for each recording so far.

    Example:
    >>> import tempfile
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> recording = RecordEpisodes("CartPole-v1", tempfile.mkdtemp(), every_epochs=1)
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
        **kwargs,
    ):
        super().__init__()
        if (every_epochs is None) == (every_episodes is None):
            raise ValueError(
                "Expected either `every_epochs` or `every_episodes`. Received: "
                f"every_epochs={every_epochs}, every_episodes={every_episodes}"
            )
        name = "every_episodes" if every_epochs is None else "every_epochs"
        every = every_episodes if every_epochs is None else every_epochs
        check_positive_integer(name, every)
        _check_settings(env, format, fps, max_steps)
        self.env, self.directory = env, Path(directory)
        self.every_epochs, self.every_episodes = every_epochs, every_episodes
        self.format = format
        self.recordings = []
        self._settings = {"fps": fps, "max_steps": max_steps, "seed": seed, **kwargs}
        self._episodes = self._seen = 0  # in total, in this epoch

    def get_state(self):
        return {"episodes": self._episodes, "seen": self._seen}

    def set_state(self, state):
        self._episodes, self._seen = state["episodes"], state["seen"]

    def on_train_batch_end(self, batch, logs=None):
        if self.every_episodes is not None:
            before = self._episodes // self.every_episodes
            self._episodes += int(logs["episodes"]) - self._seen
            self._seen = int(logs["episodes"])
            if self._episodes // self.every_episodes > before:
                self._record()

    def on_epoch_end(self, epoch, logs=None):
        self._seen = 0
        if self.every_epochs is not None and epoch % self.every_epochs == 0:
            self._record()

    def _record(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"episode-{int(self.model.env_steps)}.{self.format}"
        path = self.directory / name
        self.recordings.append(
            record_episode(self.model, self.env, path, **self._settings)
        )


def record_episode(agent, env, path, fps=30, max_steps=5_000, seed=0, **kwargs):
    """Plays one greedy episode and saves it as an animated image.

    The environment must be a Gymnasium environment that renders images
    (`render_mode="rgb_array"`). In an Atari game the agent observes what it was trained
    on and the coloured screen is recorded; `fps=15` is the game's own speed.

    Args:
        agent: `Agent`, or anything with its `act`.
        env: Environment id; a callable that returns a `gymnasium.Env`, with the keyword
            `render_mode` or already in this mode; or one `gymnasium.Env` made with it.
        path: String or path, ends in `.gif` or `.webp`.
        fps: Number, images per second. GIF rounds the time of an image to 0.01 s:
            choose 33, 50 or 100.
        max_steps: Integer >= 1, the length at which the episode is cut. Writing 5 000
            steps of CartPole takes a gigabyte of memory.
        seed: Integer, for the first state.
        **kwargs: Passed to the environment's constructor.

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
    path = Path(path)
    _check_settings(env, path.suffix[1:], fps, max_steps)
    given = not isinstance(env, str) and not callable(env)
    if not given and _takes_render_mode(env):
        kwargs = {"render_mode": "rgb_array", **kwargs}
    made = make_single(env, **kwargs)
    try:
        if made.render_mode != "rgb_array":
            raise ValueError(
                'Expected an environment made with render_mode="rgb_array". '
                f"Received: {made} with render_mode={made.render_mode!r}"
            )
        episode = _Episode(agent, with_masks(made), max_steps, seed)
        pictures = episode.pictures()
        first = next(pictures)
        with contextlib.closing(pictures):
            first.save(
                path,
                save_all=True,
                append_images=pictures,
                duration=round(1000 / fps),
                loop=0,
            )
    finally:
        if not given:
            made.close()
    return episode.total, path


class _Episode:
    """An episode, played one step for each image that is taken from `pictures`."""

    def __init__(self, agent, env, max_steps, seed):
        self.agent, self.env = agent, env
        self.max_steps, self.seed = max_steps, seed
        self.total = 0.0
        self._observation = codec(env.observation_space, "observation")
        self._action = codec(env.action_space, "action")

    def pictures(self):
        """Yields an image of the first state and one after each step."""
        observation, _ = self.env.reset(seed=self.seed)
        yield self._picture()
        for _ in range(self.max_steps):
            observation, reward, terminated, truncated, _ = self.env.step(
                self._act(observation)
            )
            self.total += float(reward)
            yield self._picture()
            if terminated or truncated:
                return

    def _act(self, observation):
        batch = self._observation.empty(1)
        self._observation.put(batch, 0, observation)
        return self._action.take(self.agent.act(batch))[0]

    def _picture(self):
        return Image.fromarray(self.env.render()).quantize()


def _takes_render_mode(env):
    """Whether an id or a callable may be given `render_mode`."""
    if isinstance(env, str):
        return True
    parameters = inspect.signature(env).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    return "render_mode" in parameters or inspect.Parameter.VAR_KEYWORD in kinds


def _check_settings(env, format, fps, max_steps):
    if isinstance(env, Environment):
        raise ValueError(
            "Expected an id, a callable or a `gymnasium.Env` to record. Received: the "
            f"`envs.Environment` {env.id!r}, which renders no images. Give its id, and "
            "its settings as keywords."
        )
    check_choice("format", format, FORMATS)
    check_range("fps", fps, 0.0, open_low=True)
    check_positive_integer("max_steps", max_steps)
