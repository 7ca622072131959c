"""`kerasrl2 record`, `export` and `evaluate` of runs and of files, and TensorBoard."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageSequence

import kerasrl2 as krl
from tests.callbacks.test_hyperparameters import shown
from tests.cli.shell import fail, files_of, succeed


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a run of PPO on `CartPole-v1`."""
    directory = tmp_path / "run"
    shutil.copytree(runs / "run-1", directory)
    return directory


class TestRecord:
    @pytest.mark.long
    def test_a_run(self, run, tmp_path):
        path = tmp_path / "two.gif"
        arguments = "--episodes", 2, "--seed", 5, "--max-steps", 4, "--fps", 20
        output = succeed("record", run, "--output", path, *arguments)
        assert output.split() == (
            f"CartPole-v1: return 4.000, 4.000; wrote {path}".split()
        )
        with Image.open(path) as file:
            assert file.size == (600, 400)  # Gymnasium's
            shown_for = sum(
                frame.info["duration"] for frame in ImageSequence.Iterator(file)
            )
        assert shown_for == 10 * 50  # milliseconds; equal pictures may be one

    def test_a_run_by_itself(self, run):
        pytest.importorskip("imageio_ffmpeg")
        more = "--max-steps", 3, "--backend", "tensorflow"
        output = succeed("record", run, *more)
        expected = f"CartPole-v1: return 3.000; wrote {run}/episode.mp4"
        assert output.split() == expected.split()
        assert (run / "episode.mp4").stat().st_size > 500

    def test_a_file_needs_an_environment(self, run, tmp_path):
        file = run / "agent.keras"
        line = fail("record", file, "-o", tmp_path / "a.gif")
        assert "Expected `--env` with an agent that is in no run. Received: " in line
        output = succeed(
            "record", file, "-o", tmp_path / "a.gif", "--env", "CartPole-v0",
            "--max-steps", 2, "--backend", "tensorflow",
        )  # fmt: skip
        assert output.startswith("CartPole-v0: return 2.00")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["-o", "a.avi"], "`format` to be one of: gif, webp, mp4. Received: 'avi'"),
            (["-o", "none/a.gif"], "Expected `--output` as a file that can be written"),
            (["-o", "a.gif", "--backend", "jax"], "`backend` to be one of: auto, tens"),
            (["-o", "a.gif", "--env", "Endless-1"], "does not define `picture(self, p"),
            (["-o", "a.gif", "--env", "Pendulum-v1"], "Expected observations of shape"),
        ],
    )
    def test_wrong_arguments(self, run, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        before = files_of(tmp_path)
        assert message in fail("record", run, *arguments)
        assert files_of(tmp_path) == before


class TestExport:
    @pytest.mark.long
    def test_a_run_and_a_file(self, run, tmp_path):
        output = succeed("export", run)
        assert output == f"wrote {run}/saved_model\n"
        path = tmp_path / "serving" / "1"
        succeed("export", run / "agent.keras", "--output", path)
        batch = np.random.default_rng(0).normal(size=[9, 4]).astype(np.float32)
        expected = krl.load_agent(run / "agent.keras").act(batch)
        for written in (run / "saved_model", path):
            loaded = tf.saved_model.load(written).signatures["serving_default"]
            said = loaded(observation=tf.constant(batch))
            np.testing.assert_array_equal(said["action"], expected)
        line = fail("export", run)
        assert "Expected a new or an empty directory to export to" in line

    @pytest.mark.long
    @pytest.mark.parametrize("format", ["tflite", "onnx"])
    def test_other_formats(self, run, format):
        if format == "onnx":
            pytest.importorskip("tf2onnx")
        succeed("export", run, "--format", format)
        file = run / "agent.keras"
        output = succeed("export", file, "--format", format)
        assert output == f"wrote {run}/agent-policy.{format}\n"
        names = f"policy.{format}", f"agent-policy.{format}"
        one, two = ((run / name).stat().st_size for name in names)
        assert min(one, two) > 1000

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--format", "h5"], "`--format` to be one of: saved_model, tflite, onnx"),
            (["--format", "onnx", "-o", "a.tflite"], "a file that ends with '.onnx'"),
        ],
    )
    def test_wrong_arguments(self, run, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        before = files_of(tmp_path)
        assert message in fail("export", run, *arguments)
        assert files_of(tmp_path) == before


@pytest.mark.long
def test_evaluate_takes_a_file_and_another_environment(run):
    file = run / "agent.keras"
    assert "Expected `--env`" in fail("evaluate", file)
    few = "--episodes", 2
    output = succeed("evaluate", file, "--env", "CartPole-v1", *few)
    of_run = succeed("evaluate", run, *few)
    assert output == of_run.replace("ppo on", "PPO on")
    output = succeed("evaluate", run, "--env", "CartPole-v0", *few)
    assert output.startswith("ppo on CartPole-v0: return ")


def test_tensorboard_shows_the_settings_of_a_run(runs):
    settings, status = shown(runs / "run-2")
    assert status == 1
    assert {name: settings[name] for name in ("algorithm", "env", "seed")} == {
        "algorithm": "ppo",
        "env": "CartPole-v1",
        "seed": 2.0,
    }
    assert (settings["hidden"], settings["rollout_length"]) == ("[4]", 8.0)
