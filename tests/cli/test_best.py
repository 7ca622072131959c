"""The best agent of a run: kept by evaluation, remembered, and what commands say."""

import json
import math
import shutil

import keras
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.cli.best import KeepBest
from kerasrl2.cli.runs import read_best
from kerasrl2.plotting import read_metrics
from tests.cli.shell import SMALL, call, fail, succeed

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


class Saved(keras.Model):
    """Writes how often it was saved."""

    times = 0

    def save(self, path):
        self.times += 1
        path.write_text(str(self.times))


def kept(directory, *returns, begin=0):
    """A callback after epochs with these evaluations, of 100 steps each."""
    callback = KeepBest(directory, 5)
    callback.set_model(Saved())
    callback.on_train_begin()
    for epoch, value in enumerate(returns, begin):
        callback.on_train_batch_end(0)
        logs = {"env_steps": 100 * (epoch + 1), "val_return": value}
        callback.on_epoch_end(epoch, logs)
    return callback


class TestKeepBest:
    def test_the_best_and_of_equals_the_later(self, tmp_path):
        callback = kept(tmp_path, -5.0, -3.0, -4.0, -3.0, -9.0)
        assert (tmp_path / "best.keras").read_text() == "3"
        record = json.loads((tmp_path / "best.json").read_text())
        assert record == {"return": -3.0, "env_steps": 400, "episodes": 5}
        assert read_best(tmp_path) == callback.best == record
        assert (callback.latest, callback.count) == (-9.0, 5)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["best.json", "best.keras"]

    def test_no_evaluation_keeps_nothing(self, tmp_path):
        callback = kept(tmp_path, math.nan)
        callback.on_epoch_end(1, {"env_steps": 5, "return": 3.0})
        assert (callback.best, callback.count) == (None, 0)
        assert list(tmp_path.iterdir()) == []

    def test_a_later_process_remembers(self, tmp_path):
        kept(tmp_path, 7.0, 8.0)
        assert kept(tmp_path, 7.5, begin=1).best["return"] == 8.0
        assert (tmp_path / "best.keras").read_text() == "2"
        assert kept(tmp_path, 8.5, begin=2).best["env_steps"] == 300

    @pytest.mark.parametrize("text", ["", "[]", '{"return": "x"}', '{"return": 3}'])
    def test_a_damaged_record_is_none(self, text, tmp_path):
        kept(tmp_path, 7.0)
        (tmp_path / "best.json").write_text(text)
        assert read_best(tmp_path) is None
        assert kept(tmp_path, 2.0).best["return"] == 2.0

    def test_a_record_without_its_agent_is_none(self, tmp_path):
        kept(tmp_path, 7.0)
        (tmp_path / "best.keras").unlink()
        assert read_best(tmp_path) is None

    def test_a_failure_while_it_is_written_leaves_the_one_before(self, tmp_path):
        class Full(Saved):
            def save(self, path):
                path.write_text("half of")
                raise OSError("no space is left")

        callback = kept(tmp_path, 7.0)
        callback.set_model(Full())
        with pytest.raises(OSError, match="no space"):
            callback.on_epoch_end(1, {"env_steps": 200, "val_return": 8.0})
        assert (tmp_path / "best.keras").read_text() == "1"
        assert read_best(tmp_path)["return"] == 7.0


class TestCommands:
    def test_a_run_names_its_best_agent(self, runs):
        run = runs / "run-1"
        best, metrics = read_best(run), read_metrics(run)
        assert best["return"] == metrics["val_return"].max()
        agent = krl.load_agent(run / "best.keras")
        assert int(agent.env_steps) == best["env_steps"]
        output = " ".join((runs / "output-1.txt").read_text().split())
        assert "evaluation " in output
        assert "2 evaluations took" in output
        assert "saved agent.keras (the last), best.json, best.keras (return" in output
        assert f"at {best['env_steps']} steps), config.yaml" in output

    def test_evaluate_and_record_it(self, runs, tmp_path):
        steps = read_best(runs / "run-1")["env_steps"]
        output = succeed("evaluate", runs / "run-1", "--best", "--episodes", 2)
        assert output.startswith(f"ppo on CartPole-v1, best agent ({steps} steps): ret")
        film = tmp_path / "best.gif"
        succeed("record", runs / "run-1", "--best", "--max-steps", 3, "-o", film)
        assert film.stat().st_size > 0

    def test_where_there_is_none(self, runs, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(runs / "run-1", run)
        (run / "best.keras").unlink()
        for command in ("evaluate", "record", "export"):
            line = fail(command, run, "--best")
            assert "Expected a run whose agent was evaluated" in line
            assert f"kerasrl2 resume {run}" in line
        line = fail("evaluate", runs / "run-1" / "best.keras", "--best")
        assert "a file, which holds one agent" in line

    @pytest.mark.long
    def test_export_it(self, runs, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(runs / "run-1", run)
        agent = krl.load_agent(run / "best.keras")
        agent.set_weights([0 * weights for weights in agent.get_weights()])
        agent.save(run / "best.keras")
        value = {}
        for name, options in {"best": ["--best"], "last": []}.items():
            succeed("export", run, *options, "-o", tmp_path / name)
            signature = tf.saved_model.load(tmp_path / name).signatures[
                "serving_default"
            ]
            value[name] = float(signature(tf.ones([1, 4]))["value"][0])
        assert value["best"] == 0.0 != value["last"]

    def test_lines_fit_a_terminal(self, runs):
        lines = (runs / "output-1.txt").read_text().splitlines()
        long = [x for x in lines if len(x) > 80 and " " in x.strip()]
        assert long == []


@pytest.mark.long
def test_the_best_survives_a_kill_between_it_and_its_checkpoint(tmp_path, whole):
    """The run goes on from before; what follows is measured by the best so far."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for checkpoint in sorted((run / "checkpoints").iterdir())[1:]:
        shutil.rmtree(checkpoint)
    (run / "best.json").write_text('{"return": 1e6, "env_steps": 9, "episodes": 2}')
    before = (run / "best.keras").read_bytes()
    output = succeed("resume", run)
    assert "best 1.00e6 at 9 steps" in " ".join(output.split())
    assert (run / "best.keras").read_bytes() == before


@pytest.mark.long
def test_a_run_without_an_evaluation_says_so(tmp_path, monkeypatch):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    from kerasrl2.cli import running

    monkeypatch.setattr(running, "_writers", lambda *_: [Stop()])
    arguments = ["a2c", "CartPole-v1", "--steps", 8000, "--run-dir", tmp_path / "run"]
    result = call("train", *arguments, *SMALL)
    assert result.exit_code == 130
    output = " ".join(result.stdout.split())
    assert "no evaluation: the run ended before its first report" in output
    assert not (tmp_path / "run" / "best.keras").exists()
