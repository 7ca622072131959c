"""Directories and `config.yaml` of runs: others' files, and those of the future."""

import hashlib
import json
import re
import shutil

import pytest

from kerasrl2 import __version__
from kerasrl2.cli import running
from kerasrl2.cli.configuration import read_config, write_config
from kerasrl2.cli.paths import check_directory, check_file
from kerasrl2.cli.runs import results_in
from tests.cli.shell import SMALL, TRAIN, call, fail, files_of, succeed


@pytest.fixture
def run(whole, tmp_path):
    """A copy of a trained run."""
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    return directory


class TestDirectories:
    """Each is refused before TensorFlow would be imported, and left as it was."""

    def test_one_that_holds_a_run(self, run):
        before = files_of(run)
        line = fail(*TRAIN, "--run-dir", run)
        assert "holds a run already" in line
        assert f"kerasrl2 resume {run}" in line
        assert files_of(run) == before

    @pytest.mark.parametrize("more", [[], ["--resume"]], ids=["new", "resume"])
    def test_one_that_is_no_run(self, tmp_path, more):
        (tmp_path / "agent.keras").write_text("mine")
        (tmp_path / "notes").mkdir()
        line = fail(*TRAIN, "--run-dir", tmp_path, *more)
        assert "is no run and holds agent.keras, notes. Choose another" in line
        assert files_of(tmp_path) == {"agent.keras": b"mine"}

    @pytest.mark.parametrize("place", ["file", "file/below", "/proc/run", "x" * 300])
    @pytest.mark.parametrize("more", [[], ["--resume"]], ids=["new", "resume"])
    def test_one_that_cannot_be(self, place, more, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").write_text("")
        line = fail(*TRAIN, "--run-dir", place, *more)
        assert line.startswith("Error: Expected `--run-dir` as a directory that can be")
        assert f"Received: {place} (" in line
        assert files_of(tmp_path) == {"file": b""}

    def test_the_default_one_cannot_be(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs").write_text("")
        assert "Expected `runs` as a directory" in fail(*TRAIN)

    def test_nothing_is_left_of_the_question(self, tmp_path):
        check_directory("x", tmp_path / "a" / "b" / "c")
        check_file("x", tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("place", ["nowhere/a.png", "directory", "file/a.png"])
    def test_pictures(self, place, whole, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").write_text("")
        (tmp_path / "directory").mkdir()
        line = fail("plot", whole, "--output", place)
        assert "Expected `--output` as a file that can be written. Received: " in line
        assert place in line
        assert files_of(tmp_path) == {"file": b""}

    def test_only_what_a_run_made_is_listed(self, tmp_path):
        for name in ("agent.keras", "config.yaml", "notes.txt"):
            (tmp_path / name).write_text("")
        assert results_in(tmp_path) == ["agent.keras", "config.yaml"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "written by a newer kerasrl2, 99. Upgrade"),
        ({"version": "99.0.1"}, "written by a newer kerasrl2, 99.0.1"),
        ({"version": "soon"}, f"such as {__version__}. Received: 'soon'"),
        ({"distributed": True}, "Received: distributed. It was written by a newer"),
        ({"steps": "many"}, "`steps` in .* as an integer >= 1 or null. Received: 'man"),
        ({"steps": 0}, "`steps` in .* as an integer >= 1 or null. Received: 0"),
        ({"seed": -1}, "`seed` in .* as an integer >= 0 or null. Received: -1"),
        ({"backend": "torch"}, "'auto' or 'tensorflow' or 'gymnasium'"),
        ({"overrides": [1]}, "`overrides` in .* as a dictionary"),
        ({"overrides": {"gama": 1}}, "Did you mean 'gamma'"),
        ({"algorithm": "pp"}, "Did you mean 'ppo'"),
        ({"algorithm": 3}, "`algorithm` in .* as a word"),
        ({"env": "Nowhere-v0"}, "Expected an id"),
        ({"buffer": 1}, "true or false"),
        ({"algorithm": "ppo"}, "an agent of PPO in .*. Received: one of A2C"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_configuration_that_is_not_believed(change, message, run):
    config = {**read_config(run), **change}
    write_config(run, **config)
    before = files_of(run)
    assert re.search(message, fail("resume", run))
    assert files_of(run) == before


@pytest.mark.parametrize("command", ["evaluate", "plot", "resume"])
def test_every_command_refuses_a_run_of_the_future(command, run):
    write_config(run, **{**read_config(run), "version": "99.1"})
    before = files_of(run)
    assert "written by a newer kerasrl2, 99.1" in fail(command, run)
    assert files_of(run) == before


def test_text_that_is_no_utf_8(run):
    (run / "config.yaml").write_bytes(b"env: \xff")
    assert "Expected readable YAML" in fail("evaluate", run)


def test_a_short_configuration_goes_on(run):
    """What it lacks is as if no option had been given."""
    config = read_config(run)
    kept = ("algorithm", "env", "overrides", "steps")
    write_config(run, **{name: config[name] for name in kept})
    assert "resumed at 400 steps" in succeed("resume", run)


def manifest_of(checkpoint, **changes):
    """Seals another manifest, as whoever writes checkpoints would."""
    path = checkpoint / "manifest.json"
    content = {**json.loads(path.read_text().split("\n")[1]), **changes}
    text = json.dumps({k: v for k, v in content.items() if v is not None})
    path.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "of format 2, written by a newer kerasrl2. Upgrade"),
        ({"algorithm": "PPO"}, "with algorithm 'PPO'"),
        ({"progress": None}, "Expected a checkpoint that `fit` wrote. .* without prog"),
    ],
)
def test_a_checkpoint_that_is_refused_leaves_all_as_it_was(change, message, run):
    manifest_of(sorted((run / "checkpoints").iterdir())[-1], **change)
    before = files_of(run)
    assert re.search(message, fail("resume", run, "--steps", 800))
    assert files_of(run) == before


def test_another_network_leaves_all_as_it_was(run):
    config = read_config(run)
    write_config(run, **{**config, "overrides": {**config["overrides"], "hidden": [8]}})
    before = files_of(run)
    assert "Expected the network, optimizer, buffer" in fail("resume", run)
    assert files_of(run) == before


def test_fewer_steps_than_were_made(run):
    before = files_of(run)
    result = call("resume", run, "--steps", 300)
    assert result.exit_code == 1
    assert "at least the 400 that the run has made" in result.stderr
    assert files_of(run) == before


@pytest.mark.long
def test_the_agent_of_another_algorithm(whole, runs, run):
    shutil.copy(runs / "run-1" / "agent.keras", run)
    for command in ("evaluate", "resume"):
        line = fail(command, run)
        assert "Expected an agent of A2C in" in line
        assert "Received: one of PPO" in line
    (run / "agent.keras").write_text("cut off while it was written")
    assert "resumed at 400 steps" in succeed("resume", run)


def test_a_refused_new_run_leaves_no_directory(tmp_path, monkeypatch):
    """Also when only `fit` finds out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "_iterations", lambda *_: 10**9)
    line = fail(*TRAIN[:3], "--steps", 8, "--reports", 10**9, *SMALL)
    assert "Expected `epochs` of at least one iteration" in line
    assert list((tmp_path / "runs").iterdir()) == []
