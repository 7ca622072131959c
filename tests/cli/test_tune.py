"""Tests of `kerasrl2 tune`."""

import contextlib
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
import yaml

from kerasrl2.cli import tune as module
from tests.cli.shell import call, fail, succeed

NAMES = "learning_rate", "gamma"
SMALL = ["--steps", 200, "--reports", 2, "--eval-episodes", 2, "--seed", 0]
SMALL += ["--set", "hidden=[4]", "--set", "xla=false"]
TUNE = ["tune", "a2c", "Chain-5", *SMALL]
PROGRAM = "import sys; from kerasrl2.cli import main; sys.exit(main())"


class Scripted:
    """Instead of processes: says what a script holds for each trial in turn."""

    def __init__(self, script):
        self.script, self.configs, self._waiting = list(script), [], {}

    def __len__(self):
        return len(self._waiting)

    @property
    def handles(self):
        return list(self._waiting)

    def start(self, handle, config):
        self.configs.append(config)
        self._waiting[handle] = list(self.script.pop(0))

    def next(self, timeout):
        handle = next(iter(self._waiting))
        message = self._waiting[handle].pop(0)
        if isinstance(message, BaseException):
            raise message
        if "part" not in message:
            self.stop(handle)
        return handle, message

    def stop(self, handle):
        del self._waiting[handle]

    def stop_all(self):
        self._waiting.clear()


def part(number, value):
    return {"part": number, "env_steps": 100 * number, "value": value}


@pytest.fixture
def scripted(monkeypatch):
    """A function that takes what is to be said and returns the `Scripted`."""

    def use(*script):
        jobs = Scripted(script)
        monkeypatch.setattr(module, "Jobs", lambda: jobs)
        return jobs

    return use


class TestRefusals:
    """Before any process is started."""

    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch, scripted):
        monkeypatch.chdir(tmp_path)
        scripted()

    def test_names(self, tmp_path):
        assert "algorithm" in fail("tune", "pppo", "CartPole-v1")
        assert "'random'" in fail("tune", "random", "CartPole-v1")
        assert "median" in fail(*TUNE, "--pruner", "good")
        assert "async" in fail(*TUNE, "--vectorization", "many")
        assert "`backend`" in fail(*TUNE, "--backend", "other")
        assert list(tmp_path.iterdir()) == []

    def test_numbers(self):
        assert ">= 1" in call(*TUNE, "--trials", 0).stderr.replace("[1, ", ">= 1")
        assert "finite" in call(*TUNE, "--timeout", "nan").stderr

    def test_spaces(self, tmp_path):
        path = tmp_path / "space.yaml"
        assert "space.yaml" in fail(*TUNE, "--space", path)
        for text, expected in (
            ("gamma: {between: [0.9, 1.0]}", "Expected a search space"),
            ("- gamma", "Expected names"),
            ("gamma: [", "Expected readable YAML"),
            ("gamma: {choices: [0.9]}", "Expected something to vary"),
        ):
            path.write_text(text)
            assert expected in fail(*TUNE, "--space", path, "--set", "gamma=0.9")

    def test_without_optuna(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "optuna", None)
        line = fail(*TUNE)
        assert line == (
            "Error: Expected Optuna for hyperparameter search. Received: it is not "
            "installed. `pip install 'kerasrl2[tune]'` installs it."
        )
        assert list(tmp_path.iterdir()) == []


@pytest.mark.long
class TestStudy:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_what_is_told_and_written(self, scripted, tmp_path):
        jobs = scripted(
            [part(1, 1.0), part(2, 3.0), {"value": 3.0}],
            [{"diverged": "a NaN loss"}],
            [{"error": "out of luck"}],
            [part(1, 2.0), part(2, 1.0), {"value": 1.0}],
        )
        result = call(*TUNE, "--trials", 4, "--env", "length=7")
        assert result.exit_code == 0
        assert result.stderr == "trial 3 of 4: failed: out of luck\n"
        output = result.stdout
        assert "tuning a2c on Chain-5 with length=7: learning_rate, gamma, " in output
        assert "trial 1 of 4: return 3 with learning_rate=" in output
        assert "trial 2 of 4: diverged" in output
        assert "2 finished, 1 pruned, 1 failed" in output
        assert "best: trial 1, return 3, " in output
        first = jobs.configs[0]
        assert first["overrides"] == {"hidden": [4], "xla": False}
        assert len({config["seed"] for config in jobs.configs}) == 4
        assert set(NAMES) < set(first["settings"])
        path = tmp_path / "runs" / "tune-a2c-Chain-5" / "settings.yaml"
        best = {"steps": 200, "hidden": [4], "xla": False, **first["settings"]}
        assert yaml.safe_load(path.read_text()) == {"Chain-5": best}
        (command,) = [line for line in output.splitlines() if "kerasrl2 train" in line]
        words = shlex.split(command.partition(": ")[2])
        assert words[:6] == ["kerasrl2", "train", "a2c", "Chain-5", "--steps", "200"]
        assert "length=7" in words
        assert f"gamma={first['settings']['gamma']}" in words
        assert "hidden=[4]" in words

    def test_pruned_trials(self, scripted):
        good = [part(1, 9.0), part(2, 9.0), {"value": 9.0}]
        scripted(*[good] * 5, [part(1, 0.0), part(2, 0.0)])
        output = succeed(*TUNE, "--trials", 6)
        assert "trial 6 of 6: return 0 after 100 steps, pruned" in output
        assert "5 finished, 1 pruned" in output

    def test_several_at_once(self, scripted):
        running = []

        class Counting(Scripted):
            def next(self, timeout):
                running.append(len(self))
                return super().next(timeout)

        jobs = Counting([[{"value": 1.0}]] * 5)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "Jobs", lambda: jobs)
            succeed(*TUNE, "--trials", 5, "--jobs", 2)
        assert running == [2, 2, 2, 2, 1]

    @pytest.mark.parametrize("how", [KeyboardInterrupt(), SystemExit(143)])
    def test_interrupted_and_continued(self, scripted, how):
        jobs = scripted([{"value": 1.0}], [part(1, 0.5), how])
        result = call(*TUNE, "--trials", 3)
        assert result.exit_code == (143 if isinstance(how, SystemExit) else 130)
        assert "1 finished" in result.stdout
        assert result.stderr == "Interrupted. The same command continues.\n"
        again = scripted([{"value": 2.0}], [{"value": 3.0}])
        output = succeed(*TUNE, "--trials", 3)
        assert "continuing: 1 finished" in output
        assert "3 finished" in output
        assert again.configs[0] == jobs.configs[1]
        scripted()
        assert "3 finished" in succeed(*TUNE, "--trials", 3)

    def test_no_trial_begins_late(self, scripted):
        jobs = scripted([{"value": 1.0}])
        output = succeed(*TUNE, "--trials", 3, "--timeout", 0)
        assert jobs.configs == []
        assert "no trial has finished" in output

    def test_a_study_of_another_algorithm(self, scripted):
        scripted([{"value": 1.0}])
        succeed(*TUNE, "--trials", 1, "--study", "mine")
        line = fail("tune", "ppo", "Chain-5", "--study", "mine")
        assert "a study of ppo on Chain-5. Received: one of a2c on Chain-5" in line
        assert "`steps`" in fail(*TUNE, "--steps", 300, "--study", "mine")
        assert "env_keywords" in fail(*TUNE, "--env", "length=3", "--study", "mine")

    def test_what_cannot_be_tried_leaves_nothing(self, scripted, tmp_path):
        scripted([{"error": "Expected another environment."}])
        result = call(*TUNE)
        assert result.exit_code == 1
        assert result.stderr == "Error: Expected another environment.\n"
        assert not list((tmp_path / "runs").iterdir())


@pytest.mark.long
class TestProcesses:
    """Real trials."""

    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_refused_settings_are_one_line(self, tmp_path):
        result = call(*TUNE, "--set", "gama=0.9")
        assert result.exit_code == 1
        assert "Did you mean 'gamma'" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert not list((tmp_path / "runs").iterdir())

    def test_one_that_crashes_is_told(self, tmp_path):
        (tmp_path / "crashing.py").write_text(
            "import os, sys\ndef make():\n"
            "    print('noise'); sys.stderr.write('out of luck'); os._exit(3)\n"
        )
        result = call("tune", "a2c", "crashing:make", *SMALL)
        assert "its process ended with exit code 3" in result.stderr
        assert "out of luck" in result.stderr

    def test_killed_and_continued(self, tmp_path):
        words = [str(w) for w in (*TUNE, "--trials", 3, "--jobs", 2, "--study", "mine")]
        words[words.index("--steps") + 1] = "3000"
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, *words])
        wait_for(lambda: states(tmp_path) == ["RUNNING"] * 2)
        wait_for(lambda: len(children_of(process.pid)) == 2)  # noted before they begin
        children = children_of(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: not any(alive(child) for child in children))
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_for(lambda: states(tmp_path)[2:] == ["RUNNING"] * 2)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, errors = process.communicate()
        assert time.monotonic() - begun < 5.0
        assert process.returncode == 130
        assert errors == b"Interrupted. The same command continues.\n"
        assert "3 finished, 0 pruned, 0 failed" in succeed(*words)
        assert states(tmp_path) == ["FAIL"] * 4 + ["COMPLETE"] * 3


def states(directory):
    with contextlib.suppress(sqlite3.OperationalError):
        path = directory / "mine" / "study.db"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        with contextlib.closing(connection):
            query = "SELECT state FROM trials ORDER BY number"
            return [state for (state,) in connection.execute(query)]
    return []


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def children_of(pid):
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True
    )
    return [int(word) for word in listed.stdout.split()]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
