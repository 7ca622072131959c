"""Recordings of environments in TensorFlow, several episodes, and MP4."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageSequence

from kerasrl2 import envs
from kerasrl2.callbacks import RecordVideo, record_episode, record_video
from kerasrl2.envs import drawn
from kerasrl2.envs.exact import Chain
from tests.callbacks.test_recording import Counts, Fake


def lit_cells(path):
    """The cell of `Chain-5` that is not dark, of each picture."""
    with Image.open(path) as file:
        frames = [
            np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(file)
        ]
    assert {frame.shape for frame in frames} == {(32, 160, 3)}
    centres = [frame[16, 16::32].astype(int).sum(axis=-1) for frame in frames]
    return [int(centre.argmax()) for centre in centres]


def test_a_world_in_tensorflow_is_seen_to_its_last_state(tmp_path):
    result = record_episode(Fake(action=1), "Chain-5", tmp_path / "a.gif")
    assert result == (1.0, tmp_path / "a.gif")
    assert lit_cells(tmp_path / "a.gif") == [0, 1, 2, 3, 4]


class Alternating:
    """Right, right, left, ... in several copies; the last of them always goes left."""

    def __init__(self):
        self.seen = []

    def act(self, observation):
        self.seen.append(observation)
        action = np.ones(len(observation), np.int32)
        action[-1] = 0
        action[0] = len(self.seen) % 3 > 0
        return action


@pytest.mark.parametrize("given", [False, True])
def test_the_first_copy_is_recorded_up_to_the_time_limit(tmp_path, given):
    agent = Alternating()
    env = Chain(num_envs=3, max_episode_steps=3) if given else Chain
    keywords = {} if given else {"num_envs": 3, "max_episode_steps": 3}
    returns, _ = record_video(agent, env, tmp_path / "a.gif", episodes=2, **keywords)
    assert returns == [0.0, 0.0]
    assert lit_cells(tmp_path / "a.gif") == [0, 1, 2, 1, 0, 1, 2, 1]
    assert [x.shape for x in agent.seen] == [(3, 5)] * 6
    assert [int(x[0].argmax()) for x in agent.seen] == [0, 1, 2, 0, 1, 2]


def test_chance_is_that_of_the_environment(tmp_path):
    """With actions that always stick the paddle never moves."""
    for stick, moves in ((1.0, False), (0.0, True)):
        agent = Fake(action=1)
        record_episode(
            agent, "GridBreakout-v0", tmp_path / "a.gif", max_steps=4,
            sticky_actions=stick,
        )  # fmt: skip
        columns = [int(x[0, 9, :, 0].argmax()) for x in agent.seen]
        assert columns == ([4, 3, 2, 1] if moves else [4] * 4)


def test_episodes_have_seeds_one_after_the_other(tmp_path):
    def first_states(seed, episodes):
        agent = Fake(action=0)
        record_video(
            agent, "CartPole-v1", tmp_path / "a.gif", episodes, "tensorflow",
            max_steps=1, seed=seed,
        )  # fmt: skip
        return [tuple(x[0].tolist()) for x in agent.seen]

    three = first_states(5, 3)
    assert len(set(three)) == 3
    assert [*first_states(5, 1), *first_states(6, 2)] == three
    env = Counts("rgb_array")
    returns, _ = record_video(Fake(), env, tmp_path / "b.gif", episodes=2, seed=8)
    # Before the first episode it is asked for an action mask, with the seed 0.
    assert (returns, env.seeds) == ([7.5, 7.5], [0, 8, 9])


def test_a_policy_that_remembers_does(tmp_path):
    class Counting(Fake):
        """Goes right in the first two steps of an episode only."""

        def initial_state(self, num_envs):
            return {"steps": tf.zeros([num_envs], tf.int32)}

        def act(self, observation, policy_state):
            steps = policy_state["steps"]
            return np.int32(steps < 2), {"steps": steps + 1}

    record_video(Counting(), "Chain-5", tmp_path / "a.gif", episodes=2, max_steps=3)
    assert lit_cells(tmp_path / "a.gif") == [0, 1, 2, 1, 0, 1, 2, 1]


def test_which_version_of_an_id_is_played(monkeypatch):
    assert drawn.make_drawn("CartPole-v1").render_mode == "rgb_array"
    for id in ("GridBreakout-v0", "Chain-5"):
        assert drawn.make_drawn(id).in_graph
    assert drawn.make_drawn("CartPole-v1", "tensorflow").in_graph
    monkeypatch.setattr(drawn.importlib.util, "find_spec", lambda name: None)
    assert drawn.make_drawn("CartPole-v1").in_graph
    assert drawn.make_drawn("CartPole-v1", "gymnasium").render_mode == "rgb_array"


def mp4(path, width, height):
    """The upper left corners' means of the pictures of a film of this size."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path]
    raw = [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read = subprocess.run(raw, capture_output=True, check=True).stdout
    frames = np.frombuffer(read, np.uint8).reshape(-1, height, width, 3)
    return frames[:, :10, :10].mean(axis=(1, 2, 3))


def test_mp4_holds_every_picture(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    record_episode(Fake(), Counts, tmp_path / "a.mp4", fps=10)
    strengths = mp4(tmp_path / "a.mp4", 30, 20)
    np.testing.assert_allclose(strengths, [0, 40, 80, 120, 160, 200], atol=4)


def test_odd_sizes_are_padded_and_a_failure_leaves_no_file(tmp_path):
    pytest.importorskip("imageio_ffmpeg")

    class Odd(Counts):
        def render(self):
            if self.time == 4:
                raise RuntimeError("no more pictures")
            return np.full([21, 33, 3], 40 * self.time, np.uint8)

    record_episode(Fake(), Odd, tmp_path / "a.mp4", max_steps=2)
    strengths = mp4(tmp_path / "a.mp4", 34, 22)
    np.testing.assert_allclose(strengths, [0, 40, 80], atol=4)
    with pytest.raises(RuntimeError, match="no more"):
        record_episode(Fake(), Odd, tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_without_the_package_mp4_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    for refused in (
        lambda: record_episode(Fake(), Counts, tmp_path / "a.mp4"),
        lambda: RecordVideo(Counts, tmp_path, every_epochs=1, format="mp4"),
    ):
        with pytest.raises(ImportError, match=r'pip install "kerasrl2\[video\]"'):
            refused()
    assert list(tmp_path.iterdir()) == []


def test_kept_environments_can_be_recorded(tmp_path):
    """The environment that is trained on is not disturbed: its state is elsewhere."""
    env = envs.make("Chain-5", num_envs=2)
    record_episode(Fake(action=1), env, tmp_path / "a.gif")
    state, _ = env.reset(tf.constant([0, 0]))
    assert state.physics.numpy().tolist() == [0, 0]
