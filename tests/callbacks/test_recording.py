"""Tests of `kerasrl2.callbacks.recording`."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image, ImageSequence

from kerasrl2 import envs
from kerasrl2.agents import A2C
from kerasrl2.callbacks import (
    RecordEpisodes,
    RecordVideo,
    record_episode,
    record_video,
)
from kerasrl2.callbacks import recording as module


class Counts(gymnasium.Env):
    """Five steps of reward 1.5; the picture at time `t` is grey of strength `40 t`."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Box(0.0, 9.0, [1], np.float64)
    action_space = spaces.Discrete(3, start=4)

    def __init__(self, render_mode=None, cut=False):
        self.render_mode, self.cut = render_mode, cut
        self.actions, self.closed, self.seeds = [], 0, []

    def reset(self, *, seed=None, options=None):
        self.time = 0
        self.seeds.append(seed)
        return np.array([0.0]), {}

    def step(self, action):
        self.time += 1
        self.actions.append(action)
        over = self.time == 5
        ends = over and not self.cut, over and self.cut
        return np.array([float(self.time)]), 1.5, *ends, {}

    def render(self):
        return np.full([20, 30, 3], 40 * self.time, np.uint8)

    def close(self):
        self.closed += 1


class Fake:
    """Acts by the observation and remembers what it saw."""

    env_steps, stop_training = 0, False

    def __init__(self, action=4):
        self.action, self.seen = action, []

    def act(self, observation):
        self.seen.append(observation)
        return np.array([self.action], np.int32)


def pictures(path):
    """Strength of the first pixel of each picture, and how long each is shown."""
    with Image.open(path) as file:
        frames = [
            (frame.convert("RGB").getpixel((0, 0))[0], frame.info["duration"])
            for frame in ImageSequence.Iterator(file)
        ]
    return [list(column) for column in zip(*frames, strict=True)]


@pytest.mark.parametrize("cut", [False, True])
def test_holds_an_episode_from_its_first_screen_to_its_last(tmp_path, cut):
    env, agent = Counts("rgb_array", cut), Fake(action=6)
    result = record_episode(agent, env, str(tmp_path / "a.gif"), fps=20, seed=7)
    assert result == (7.5, tmp_path / "a.gif")
    strengths, durations = pictures(tmp_path / "a.gif")
    assert strengths == [0, 40, 80, 120, 160, 200]
    assert durations == [50] * 6
    assert env.actions == [6] * 5
    assert env.seeds == [0, 7]  # the first one looks for action masks
    assert env.closed == 0  # it is the caller's


def test_the_agent_sees_what_it_was_trained_on(tmp_path):
    agent = Fake()
    record_episode(agent, Counts, tmp_path / "a.gif")
    assert [(x.shape, x.dtype) for x in agent.seen] == [((1, 1), np.float32)] * 5
    assert [float(x[0, 0]) for x in agent.seen] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_long_episodes_are_cut(tmp_path):
    result = record_episode(Fake(), Counts, tmp_path / "a.gif", max_steps=2)
    assert result[0] == 3.0
    assert pictures(tmp_path / "a.gif")[0] == [0, 40, 80]


def test_what_was_made_is_closed(tmp_path):
    made = []

    def make(**settings):
        made.append(Counts(**settings))
        return made[-1]

    record_episode(Fake(), make, tmp_path / "a.gif", cut=True)
    assert (made[0].closed, made[0].cut, made[0].render_mode) == (1, True, "rgb_array")
    with pytest.raises(ValueError, match=r"integer in \[4, 6\]"):
        record_episode(Fake(action=1), make, tmp_path / "b.gif")
    assert made[1].closed == 1


def test_other_formats(tmp_path):
    record_episode(Fake(), Counts, tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as file:
        assert (file.format, file.n_frames, file.size) == ("WEBP", 6, (30, 20))


@pytest.mark.parametrize(
    ("env", "path", "settings", "message"),
    [
        (Counts(), "a.gif", {}, 'with render_mode="rgb_array". Received'),
        (lambda: Counts(), "a.gif", {}, "Received: .* with render_mode=None"),
        (Counts("rgb_array"), "a.gif", {"cut": True}, r"with \['cut'\]"),
        (3, "a.gif", {}, "Expected an id, a callable"),
        (lambda: 3, "a.gif", {}, "callable that returns a `gymnasium.Env`"),
        (envs.make(Counts), "a.gif", {}, "a GymnasiumEnvironment, which renders no im"),
        (envs.make("Chain-5"), "a.gif", {"cut": True}, r"'Chain-5' with \['cut'\]"),
        ("Endless-1", "a.gif", {}, "'Endless-1', whose class Endless .*picture"),
        ("Nowhere-v0", "a.gif", {}, "Received: env='Nowhere-v0'"),
        ("Chain-5", "a.gif", {"backend": "gymnasium"}, "an id of Gymnasium. Received"),
        ("CartPole-v1", "a.gif", {"backend": "jax"}, "`backend` to be one of: auto"),
        (Counts, "a.avi", {}, "`format` to be one of: gif, webp, mp4. Received: 'avi'"),
        (Counts, "a.gif", {"episodes": 0}, "`episodes` to be an integer >= 1"),
        (Counts, "a", {}, "`format` to be one of"),
        (Counts, "a.gif", {"fps": 0}, r"`fps` in \(0.0, inf\)"),
        (Counts, "a.gif", {"max_steps": 0}, "`max_steps` to be an integer >= 1"),
    ],
)
def test_errors_help(tmp_path, env, path, settings, message):
    with pytest.raises(ValueError, match=message):
        record_video(Fake(), env, tmp_path / path, **settings)
    assert list(tmp_path.iterdir()) == []


def test_an_agent_plays_cartpole_greedily(tmp_path):
    agent = A2C.for_env("CartPole-v1", seed=0)
    first, _ = record_episode(agent, "CartPole-v1", tmp_path / "a.gif", seed=3)
    again, _ = record_episode(agent, "CartPole-v1", tmp_path / "b.gif", seed=3)
    assert first == again > 5.0
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    env = gymnasium.make("CartPole-v1")
    observation, total = env.reset(seed=3)[0], 0.0
    while True:
        observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
        total += reward
        if terminated or truncated:
            break
    assert first == total


def test_games_are_seen_in_grey_and_drawn_in_colour(tmp_path):
    pytest.importorskip("ale_py")
    agent, id = Fake(action=3), "ALE/SpaceInvaders-v5"
    record_episode(agent, id, tmp_path / "a.gif", max_steps=8, sticky_actions=0.0)
    env = envs.make(id, sticky_actions=0.0)
    state, observation = env.reset([0, 0])
    for seen in agent.seen:
        np.testing.assert_array_equal(seen, observation)
        state, time_step = env.step(state, np.array([3], np.int32), [0, 0])
        observation = time_step.observation
    with Image.open(tmp_path / "a.gif") as file:
        assert file.size == (160, 210)
        frame = np.asarray(file.convert("RGB")).astype(int)
    assert np.ptp(frame, axis=-1).max() > 100  # not grey


@pytest.fixture
def recorded(monkeypatch):
    """Replaces `record_video`; the list of calls."""
    calls = []

    def record(agent, env, path, **settings):
        calls.append((agent, env, path.name, settings))
        return [len(calls) - 1.0, len(calls) + 1.0], path

    monkeypatch.setattr(module, "record_video", record)
    return calls


def attached(*arguments, **keywords):
    callback = RecordVideo(*arguments, **keywords)
    callback.set_model(Fake())
    return callback


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4])])
def test_records_every_so_many_epochs(tmp_path, recorded, every, epochs):
    settings = {"fps": 9, "max_steps": 70, "seed": 5, "cut": True, "episodes": 2}
    directory = tmp_path / "new" / "deep"
    callback = attached(Counts, directory, every, format="webp", **settings)
    for epoch in range(5):
        callback.model.env_steps = 100 * epoch
        callback.on_train_batch_end(0, {"episodes": 50.0})
        callback.on_epoch_end(epoch, {})
    assert recorded == [
        (
            callback.model,
            Counts,
            f"episode-{100 * epoch}.webp",
            {**settings, "backend": "auto"},
        )
        for epoch in epochs
    ]
    assert callback.recordings == [
        (float(i + 1), directory / f"episode-{100 * epoch}.webp")
        for i, epoch in enumerate(epochs)
    ]
    assert directory.is_dir()


def test_records_every_so_many_episodes(tmp_path, recorded):
    callback = attached(Counts, tmp_path, every_episodes=10)
    numbers = []
    for episodes in [0.0, 9.0, 1.0, 5.0, 4.0, 31.0, 0.0, 1.0]:
        callback.on_train_batch_end(0, {"episodes": episodes})
        callback.on_epoch_end(0, {})
        numbers.append(len(recorded))
    assert numbers == [0, 0, 1, 1, 1, 2, 2, 2]


def test_records_every_so_many_steps(tmp_path, recorded):
    callback = attached(Counts, tmp_path, every_steps=100)
    callback.model.env_steps = 250  # learned before
    callback.on_train_begin()
    for env_steps in (290, 310, 390, 640, 690):
        callback.model.env_steps = env_steps
        callback.on_train_batch_end(0, {})
        callback.on_epoch_end(0, {})
    assert [name for _, _, name, _ in recorded] == [
        "episode-310.gif",
        "episode-640.gif",
    ]


def test_it_has_its_former_name(tmp_path):
    assert isinstance(RecordEpisodes(Counts, tmp_path, 1), RecordVideo)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one of `every_epochs`, `every_episodes` and `every_steps`"),
        ({"every_epochs": 1, "every_episodes": 1}, "every_epochs=1, every_episodes=1"),
        ({"every_epochs": 1, "every_steps": 2}, "every_epochs=1, .*every_steps=2"),
        ({"every_steps": 0}, "`every_steps` to be an integer >= 1. Received: 0"),
        ({"every_steps": 1, "episodes": 0}, "`episodes` to be an integer >= 1"),
        ({"every_epochs": 0}, "`every_epochs` to be an integer >= 1. Received: 0"),
        ({"every_episodes": 0}, "`every_episodes` to be an integer >= 1. Received: 0"),
        ({"every_epochs": 1, "format": "avi"}, "`format` to be one of"),
        ({"every_epochs": 1, "fps": -1}, "`fps` in"),
        ({"every_epochs": 1, "max_steps": 0}, "`max_steps` to be"),
    ],
)
def test_wrong_settings_are_told_before_training(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        RecordVideo(Counts, tmp_path, **settings)


@pytest.mark.long
def test_records_while_an_agent_is_trained(tmp_path):
    agent = A2C.for_env("CartPole-v1", seed=0, xla=False)
    callback = RecordVideo("CartPole-v1", tmp_path, every_epochs=2, max_steps=3)
    agent.fit("CartPole-v1", steps=160, epochs=2, callbacks=[callback], verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["episode-80.gif"]
