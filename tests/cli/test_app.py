"""Tests of the command line, in this process but for Ctrl-C and one real run."""

import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import yaml

import kerasrl2 as krl
from kerasrl2 import __version__, zoo
from kerasrl2._lines import figure
from kerasrl2.cli import machine, running
from kerasrl2.cli.runs import FILES
from kerasrl2.plotting import read_metrics
from tests.cli.shell import SMALL, call, fail, succeed

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


class TestTrain:
    def test_leaves_everything_in_its_directory(self, runs):
        run = runs / "run-1"
        names = {path.name for path in run.iterdir()}
        assert {"config.yaml", "agent.keras", "metrics.csv"} <= names
        assert "learning_curve.png" in names
        assert list(run.rglob("events.out.tfevents.*"))
        others = {name for name in names if not name.startswith("events.out.tfevents")}
        assert others <= {*FILES, "checkpoints", "train", "validation"}
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["algorithm"] == "ppo"
        assert config["env"] == "CartPole-v1"
        assert (config["seed"], config["steps"]) == (1, 128)
        assert config["settings"]["hidden"] == [4]
        assert config["settings"]["num_envs"] == 4
        assert (
            config["settings"]["gamma"] == zoo.settings("ppo", "CartPole-v1")["gamma"]
        )
        assert config["version"] == __version__

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("algorithm", "prioritized"),
        [("dqn", "false"), pytest.param("rainbow", "rank", marks=pytest.mark.long)],
    )
    def test_value_based_algorithms(self, algorithm, prioritized, tmp_path):
        succeed(
            "train", algorithm, "Chain-5", "--steps", 60, "--seed", 1, "--reports", 2,
            "--set", f"prioritized={prioritized}", "--set", "learning_starts=20",
            "--set", "value_range=[0.0, 2]",
            "--run-dir", tmp_path / "run", *SMALL,
        )  # fmt: skip
        metrics = read_metrics(tmp_path / "run")
        assert metrics["env_steps"].tolist() == [30, 60]
        assert np.isfinite(metrics["td_error"]).all()
        agent = krl.load_agent(tmp_path / "run" / "agent.keras")
        assert int(agent.optimizer.iterations) == 40
        if prioritized == "rank":
            assert agent.buffer.prioritization == "rank"
        assert "return" in succeed("evaluate", tmp_path / "run", "--episodes", 2)

    @pytest.mark.long
    def test_a_bonus_by_its_name(self, tmp_path):
        run = tmp_path / "run"
        succeed(
            "train", "ppo", "CartPole-v1", "--steps", 2048, "--reports", 2,
            "--set", "intrinsic_reward=rnd", "--run-dir", run, *SMALL,
        )  # fmt: skip
        assert (
            yaml.safe_load((run / "config.yaml").read_text())["settings"][
                "intrinsic_reward"
            ]
            == "rnd"
        )
        assert read_metrics(run)["predictor_loss"].tolist()[-1] > 0.0
        assert krl.load_agent(run / "agent.keras").intrinsic_reward is not None
        message = "`intrinsic_reward` as 'rnd' or null"
        assert message in fail("train", "a2c", "Chain-5", "--set", "intrinsic_reward=r")

    def test_metrics_and_agent_belong_together(self, runs):
        metrics = read_metrics(runs / "run-1")
        assert metrics["env_steps"].tolist() == [64, 128]
        assert np.isfinite(metrics["val_return"]).all()
        agent = krl.load_agent(runs / "run-1" / "agent.keras")
        assert int(agent.env_steps) == 128
        assert (agent.seed, agent.rollout_length, agent.num_epochs) == (1, 8, 2)
        assert int(agent.optimizer.iterations) == 4 * 2 * 2

    def test_says_what_it_does_in_few_lines(self, runs):
        lines = (runs / "output-1.txt").read_text().splitlines()
        assert lines[0] == (
            "ppo on CartPole-v1 (4 TensorFlow environments), 128 steps, seed 1, to"
        )
        header = next(i for i, x in enumerate(lines) if x.startswith("epoch "))
        reports = [line.split() for line in lines[header + 1 : header + 3]]
        assert [report[:2] for report in reports] == [["1/2", "64"], ["2/2", "128"]]
        assert "compiling ..." in lines[:header]
        assert any(line.startswith("128 steps in ") for line in lines)
        assert any(line.startswith("saved ") for line in lines[-4:])
        assert len(lines) <= 13

    def test_linear_settings_end_with_the_run(self, runs):
        """16 gradient steps: the learning rate is 0 afterwards."""
        metrics = read_metrics(runs / "run-1")
        start = float(zoo.settings("ppo", "CartPole-v1")["learning_rate"].split()[1])
        np.testing.assert_allclose(
            metrics["learning_rate"], [start / 2, 0.0], atol=1e-8
        )

    def test_seeds_decide(self, runs):
        agents = [
            krl.load_agent(runs / f"run-{seed}" / "agent.keras") for seed in (1, 2)
        ]
        a, b = (agent.network.get_weights()[0] for agent in agents)
        assert not np.array_equal(a, b)

    @pytest.mark.long
    def test_the_next_free_directory_gymnasium_and_stop_at(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs" / "a2c-CartPole-v1-1").mkdir(parents=True)
        output = succeed(
            "train", "a2c", "CartPole-v1", "--backend", "gymnasium", "--stop-at", 1,
            "--steps", 4000, "--reports", 50, *SMALL,
        )  # fmt: skip
        assert "8 Gymnasium environments" in output
        assert "runs/a2c-CartPole-v1-2" in output
        directory = tmp_path / "runs" / "a2c-CartPole-v1-2"
        assert (directory / "agent.keras").is_file()
        assert len(read_metrics(directory)["env_steps"]) == 1


class TestEvaluate:
    def test_plays_the_agent_of_a_run(self, runs):
        output = succeed("evaluate", runs / "run-1", "--episodes", 3)
        agent = krl.load_agent(runs / "run-1" / "agent.keras")
        scores = agent.evaluate(krl.envs.make("CartPole-v1", num_envs=3), 3)
        assert output.startswith(
            f"ppo on CartPole-v1: return {figure(scores['return'])} "
        )
        assert output.endswith("3 episodes\n")

    def test_sampling_and_seeds(self, runs):
        arguments = ["evaluate", runs / "run-1", "--episodes", 3]
        outputs = {" ".join(succeed(*arguments, *more).split()) for more in
                   ([], ["--sample"], ["--sample", "--seed", "5"])}  # fmt: skip
        assert len(outputs) >= 2
        agent = krl.load_agent(runs / "run-1" / "agent.keras")
        env = krl.envs.make("CartPole-v1", num_envs=3)
        for greedy, seed in ((False, 0), (False, 5)):
            scores = agent.evaluate(env, 3, greedy=greedy, seed=seed)
            expected = (
                f"return {figure(scores['return'])} +- "
                f"{figure(scores['return_std'])} (min {figure(scores['return_min'])}, "
                f"max {figure(scores['return_max'])})"
            )
            assert any(expected in output for output in outputs)

    def test_wrong_runs(self, runs, tmp_path):
        assert "There is no" in fail("evaluate", tmp_path / "none")
        assert "train` made" in fail("evaluate", tmp_path)
        for text, message in (
            ("a: [", "readable YAML"), ("hello", "settings of a run"),
            ("{algorithm: ppo}", "settings of a run"), ("", "settings of a run"),
        ):  # fmt: skip
            (tmp_path / "config.yaml").write_text(text)
            assert message in fail("evaluate", tmp_path)
        (tmp_path / "config.yaml").write_text("{algorithm: ppo, env: CartPole-v1}")
        assert "no file" in fail("evaluate", tmp_path)
        (tmp_path / "agent.keras").write_text("hello")
        assert "not such an archive" in fail("evaluate", tmp_path)
        (tmp_path / "config.yaml").write_text("{algorithm: ppo, env: Pendulum-v1}")
        agent = (runs / "run-1" / "agent.keras").read_bytes()
        (tmp_path / "agent.keras").write_bytes(agent)
        assert "observations this agent was made for" in fail("evaluate", tmp_path)


class TestPlot:
    def test_draws_several_seeds(self, runs, tmp_path):
        path = tmp_path / "curve.png"
        output = succeed("plot", runs / "run-1", runs / "run-2", "-o", path)
        assert output == f"wrote {path}\n"
        assert path.stat().st_size > 5000

    def test_wrong_arguments(self, runs, tmp_path):
        assert "There is no" in fail("plot", tmp_path)
        assert "nowhere" in fail(
            "plot", runs / "run-1", "-o", tmp_path / "nowhere/a.png"
        )
        assert "abc" in fail("plot", runs / "run-1", "-o", tmp_path / "a.abc")
        (tmp_path / "config.yaml").write_text("{algorithm: ppo, env: CartPole-v1}")
        assert "metrics" in fail("plot", tmp_path)


class TestList:
    def test_algorithms(self):
        lines = succeed("list").splitlines()
        names = [line.split()[0] for line in lines]
        assert names == zoo.algorithms() == sorted(krl.agents.algorithms())
        assert {"a2c", "dqn", "ppo", "rainbow", "sac"} <= {*names}
        assert all("CartPole-v1" in line or "Pendulum-v1" in line for line in lines)

    def test_environments(self):
        assert "Endless-1" in succeed("list", "environments")

    @pytest.mark.parametrize("algorithm", zoo.algorithms())
    def test_settings_are_all_keywords(self, algorithm):
        output = succeed("list", "settings", algorithm)
        listed = {line.split(" = ")[0] for line in output.splitlines() if " = " in line}
        agent_class = krl.agents.algorithm(algorithm)
        objects = {"network", "head", "observation_spec", "optimizer", "seed",
                   "critic_optimizer",
                   "observation_normalizer", "reward_scaling", "q_network",
                   "action_values", "buffer"}  # fmt: skip
        assert set(agent_class.hyperparameters()) - objects <= listed
        assert ("normalize_observations" in listed) == (algorithm != "random")
        assert not objects & listed

    def test_wrong_arguments(self):
        assert "Did you mean 'algorithms'" in fail("list", "algorithm")
        assert "an algorithm" in fail("list", "settings")
        assert "Did you mean 'ppo'" in fail("list", "settings", "ppoo")
        assert "Received: environments ppo" in fail("list", "environments", "ppo")


@pytest.mark.long
def test_a_failure_in_the_run_keeps_what_was_learned(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_writers", lambda *_: [Broken()])
    arguments = ["a2c", "CartPole-v1", "--steps", 80, "--run-dir", tmp_path, *SMALL]
    result = call("train", *arguments)
    assert result.exit_code == 1
    assert result.stderr.strip() == "Error: a NaN reward"
    agent = krl.load_agent(tmp_path / "agent.keras")
    assert int(agent.optimizer.iterations) == 1


class Broken(keras.callbacks.Callback):
    """Fails at the first epoch's end."""

    def on_epoch_end(self, epoch, logs=None):
        raise krl.errors.NonFiniteError("a NaN reward")


class TestThisProcess:
    def test_version(self):
        assert succeed("--version") == f"{__version__}\n"

    def test_help_names_every_command(self):
        output = succeed("--help")
        for command in ("train", "evaluate", "plot", "list"):
            assert command in output

    @pytest.mark.parametrize(
        ("settings", "small"),
        [({}, True), ({"hidden": [64, 64]}, True), ({"hidden": [256]}, False),
         ({"hidden": [256, 256], "batch_size": 64}, True),
         ({"hidden": [128], "batch_size": 512}, True),
         ({"batch_size": 2048}, False), ({"encoder": "nature_cnn"}, False)],
    )  # fmt: skip
    def test_threads_by_size(self, settings, small):
        assert machine.threads_for(settings) == (1 if small else os.cpu_count())

    def test_cache_flag(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERASRL2_CACHE", str(tmp_path))
        monkeypatch.setenv("TF_XLA_FLAGS", "--other")
        machine.use_compilation_cache()
        (directory,) = tmp_path.iterdir()
        expected = f"--other --tf_xla_persistent_cache_directory={directory}"
        assert os.environ["TF_XLA_FLAGS"].startswith(expected)
        assert directory.stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("place", ["", "/proc/nowhere"])
    def test_without_a_cache(self, place, monkeypatch):
        monkeypatch.setenv("KERASRL2_CACHE", place)
        monkeypatch.setenv("TF_XLA_FLAGS", "--other")
        machine.use_compilation_cache()
        assert os.environ["TF_XLA_FLAGS"] == "--other"


class Interrupt(keras.callbacks.Callback):
    """Sends a signal to this process in the middle of a run."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_saves_and_ends(number, code, tmp_path, monkeypatch):
    writers = running._writers
    monkeypatch.setattr(
        running, "_writers", lambda *given: [*writers(*given), Interrupt(number)]
    )
    result = call(
        "train", "a2c", "CartPole-v1", "--steps", 4_000, "--reports", 50,
        "--run-dir", tmp_path, *SMALL,
    )  # fmt: skip
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("Interrupted at 160 steps. To continue: kerasrl2 r")
    assert "1 checkpoints, 0.0 MB" in result.stdout or "2 checkpoints" in result.stdout
    output = " ".join(result.stdout.split())
    assert "saved agent.keras (the last), best.json, best.keras (return" in output
    assert "config.yaml, learning_curve.png, metrics.csv in" in output
    assert int(krl.load_agent(tmp_path / "agent.keras").env_steps) == 160
    assert read_metrics(tmp_path)["env_steps"].tolist() == [80, 160]


@pytest.mark.long
def test_ctrl_c_saves_and_ends_cleanly(tmp_path):
    """A real process: threads are set, TensorFlow's chatter is kept back."""
    directory = tmp_path / "run"
    code = "from kerasrl2.cli import main; main()"
    command = [
        sys.executable, "-c", code, "train", "a2c", "CartPole-v1", "--steps",
        "100000000", "--reports", "100000", "--run-dir", str(directory), *SMALL,
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment, "KERASRL2_CACHE": ""},
    )  # fmt: skip
    try:
        for _ in range(600):
            time.sleep(0.1)
            path = directory / "metrics.csv"
            if path.is_file() and len(path.read_text().splitlines()) > 3:
                break
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("Interrupted at ")
    assert "saved agent.keras" in output
    agent = krl.load_agent(directory / "agent.keras")
    assert int(agent.env_steps) >= read_metrics(directory)["env_steps"][-1] > 0
    assert (directory / "learning_curve.png").is_file()
    succeed("evaluate", directory, "--episodes", 2)
