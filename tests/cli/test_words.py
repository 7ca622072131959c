"""What the command line says to wrong arguments: one line, and nothing is made."""

import pytest
import tensorflow as tf

from kerasrl2 import __version__
from kerasrl2.cli import listing
from tests.cli.shell import call, console, fail


class TestWrongArgumentsOfTrain:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["pp", "CartPole-v1"], "Did you mean 'ppo'"),
            (["ppo", "CartPole-v7"], "Did you mean 'CartPole-v"),
            (["ppo", "ALE/Nothing-v5"], "ALE/Nothing-v5"),
            (["ppo", "CartPole-v1", "--backend", "tensorflo"], "Did you mean 'tensorf"),
            (
                ["ppo", "LunarLander-v3", "--backend", "tensorflow"],
                "TensorFlow version",
            ),
            (["ppo", "CartPole-v1", "--set", "gama=0.9"], "Did you mean 'gamma'"),
            (["ppo", "CartPole-v1", "--set", "gamma"], "--set name=value"),
            (["ppo", "CartPole-v1", "--set", "=3"], "--set name=value"),
            (["ppo", "CartPole-v1", "--set", "gamma=1.5"], "`gamma` in [0.0, 1.0]"),
            (["ppo", "CartPole-v1", "--set", "gamma=high"], "gamma"),
            (["ppo", "CartPole-v1", "--set", "num_epochs=many"], "num_epochs"),
            (["ppo", "CartPole-v1", "--set", "num_epochs=0"], "num_epochs"),
            (["ppo", "CartPole-v1", "--set", "batch_size=0"], "batch_size"),
            (["ppo", "CartPole-v1", "--set", "batch_size=7"], "divide the rollout"),
            (["ppo", "CartPole-v1", "--set", "hidden=many"], "hidden"),
            (["ppo", "CartPole-v1", "--set", "hidden=64"], "hidden"),
            (["ppo", "CartPole-v1", "--set", "hidden=[a]"], "hidden"),
            (["ppo", "CartPole-v1", "--set", "learning_rate=linear"], "linear START"),
            (["ppo", "CartPole-v1", "--set", "learning_rate=fast"], "learning_rate"),
            (["ppo", "CartPole-v1", "--set", "activation=reluu"], "reluu"),
            (["ppo", "CartPole-v1", "--set", "num_envs=none"], "num_envs"),
            (["ppo", "CartPole-v1", "--set", "seed=3"], "seed"),
            (["ppo", "CartPole-v1", "--set", "network=mine"], "network"),
            (["ppo", "CartPole-v1", "--set", "optimizer=fast"], "optimizer"),
            (["ppo", "CartPole-v1", "--set", "distribution=beta"], "beta"),
            (
                ["ppo", "CartPole-v1", "--set", "optimizer=adm"],
                "its rate is `--set learning_rate=...`",
            ),
            (["ppo", "CartPole-v1", "--set", "env=Chain-5"], "the second argument"),
            (["ppo", "CartPole-v1", "--set", "activation=tanhh"], "mean 'tanh'"),
            (["dqn", "CartPole-v1", "--set", "activation=reluu"], "mean 'relu'"),
            (
                ["ppo", "CartPole-v1", "--set", "distribution=beta"],
                "actions Discrete(2): 'auto', 'categorical'. Received: 'beta'",
            ),
            (
                ["ppo", "Pendulum-v1", "--set", "distribution=categorical"],
                "'auto', 'gaussian', 'squashed_gaussian', 'beta', 'gsde'. Received: '",
            ),
            (["ppo", "CartPole-v1", "--set", "distribution=bet"], "`distribution` to"),
            (["ppo", "CartPole-v1", "--set", "gamma=null"], "as a number. Rec"),
            (
                ["ppo", "CartPole-v1", "--set", "learning_rate=linear -1"],
                "both of them >= 0",
            ),
            (
                ["dqn", "CartPole-v1", "--set", "prioritized=ranks"],
                "'proportional' or 'rank'",
            ),
            (["dqn", "Pendulum-v1"], "learn such actions: a2c, a3c, "),
            (["ppo", "qqqqqqqq"], "kerasrl2 list environments"),
            (["ppo", "no_such_module:Mine"], "module 'no_such_module' of no_such"),
        ],
        ids=lambda value: (
            " ".join(value[2:] or value) if isinstance(value, list) else ""
        ),
    )
    def test_one_line_and_no_directory(self, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        line = fail("train", *arguments, "--steps", 64)
        assert message in line
        assert len(line) < 800  # some keywords
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("option", "value"),
        [("--steps", 0), ("--steps", "x"), ("--num-envs", -1), ("--seed", -1),
         ("--reports", 0), ("--eval-episodes", 0), ("--threads", 0), ("--nothing", 1)],
    )  # fmt: skip
    def test_options_out_of_range(self, option, value):
        result = call("train", "ppo", "CartPole-v1", option, value)
        assert result.exit_code == 2
        assert option in result.stderr
        assert "Traceback" not in result.stderr


def test_what_does_not_fit_into_memory(monkeypatch):
    for error in (
        MemoryError("74 GiB"),
        tf.errors.ResourceExhaustedError(None, None, "74 GiB"),
    ):
        monkeypatch.setattr(listing, "show", Raises(error))
        line = fail("list")
        assert "Expected a run that fits into memory" in line
        assert "74 GiB" in line
    monkeypatch.setattr(listing, "show", Raises(KeyError("a fault of the package")))
    assert isinstance(call("list").exception, KeyError)


class Raises:
    def __init__(self, error):
        self.error = error

    def __call__(self, *_):
        raise self.error


class TestWordsOfWrongUsage:
    """What the console script says; exit code 2."""

    @pytest.mark.parametrize(
        ("arguments", "messages"),
        [
            (["train"], ["Missing argument 'algorithm'", "Expected: `kerasrl2 train [",
                         "Received: `kerasrl2 train`", "`kerasrl2 train --help`"]),
            (["train", "ppo"], ["Missing argument 'env'", "`kerasrl2 train ppo`"]),
            (["train", "ppo", "A-v1", "x"], ["extra argument", "train ppo A-v1 x`"]),
            (["trian"], ["No such command 'trian'", "Received: `kerasrl2 trian`"]),
            (["list", "--all"], ["No such option: --all", "Received: `kerasrl2 list"]),
            (["train", "ppo", "A-v1", "--steps"], ["'--steps' requires", "--steps`"]),
            (["train", "a", "b", "--steps", "x"], ["'--steps'", "Received: x"]),
            (["train", "a", "b", "--seed", "-1"], ["[0, 2147483647]", "Received: -1"]),
            (["train", "a", "b", "--num-envs", "1" * 20], ["'--num-envs'", "1" * 20]),
            (["train", "a", "b", "--threads", "9999"], ["[1, 1024]", "9999"]),
            (["train", "a", "b", "--stop-at", "nan"], ["finite", "Received: nan"]),
            (["train", "a", "b", "--stop-at", "high"], ["finite", "Received: high"]),
            (["evaluate", "a", "--episodes", "0"], ["'--episodes'", "Received: 0"]),
            (["resume", "a", "--steps", "1.5"], ["an integer", "Received: 1.5"]),
        ],
        ids=lambda value: " ".join(value)[:40],
    )  # fmt: skip
    def test_one_line_with_what_was_received(self, arguments, messages):
        code, output, errors = console(*arguments)
        assert (code, output) == (2, "")
        (line,) = errors.splitlines()
        assert line.startswith("Error: ")
        for message in messages:
            assert message in line

    def test_no_command_gets_the_help_and_one_line(self):
        code, output, errors = console()
        assert code == 2
        assert "evaluate" in output
        assert errors == (
            "Error: Expected a command, such as `kerasrl2 train ppo CartPole-v1`. "
            "Received: none.\n"
        )

    def test_success(self):
        assert console("--version") == (0, f"{__version__}\n", "")
        assert console("list", "environments")[0] == 0
