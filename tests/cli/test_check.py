"""Tests of `kerasrl2 check`."""

import sys

import gymnasium
import pytest
from typer.testing import CliRunner

from kerasrl2.cli import app

MODULE = """
import gymnasium
import numpy as np

import kerasrl2 as krl


class Mine(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0.0, 1.0, [1], np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    reward = 1.0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        end = self.time == 5
        return np.zeros(1, np.float32), self.reward, end, False, {}


class Nested:
    class Nan(Mine):
        reward = float("nan")


class Huge(Mine):
    reward = 1e7


gymnasium.register("Mine-v0", Mine)
tensors = krl.envs.make("Chain-5")
number = 3
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The current one, with a module that only it leads to."""
    place = tmp_path_factory.mktemp("worlds")
    (place / "my_worlds.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [p for p in sys.path if p])
        yield place
    sys.modules.pop("my_worlds", None)
    gymnasium.registry.pop("Mine-v0", None)


def call(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


@pytest.mark.parametrize("env", ["Chain-5", "my_worlds:Mine", "my_worlds:tensors"])
def test_no_faults(directory, env):
    result = call(env, "--steps", 30)
    assert result.exit_code == 0, result.output
    assert result.output == f"no faults found in {env}, 30 steps\n"


def test_an_id_that_a_module_registers(directory):
    result = call("my_worlds:Mine-v0", "--steps", 30)
    assert result.exit_code == 0, result.output
    assert "no faults found in my_worlds:Mine-v0" in result.output


def test_an_error_says_where_and_how_to_mend_it(directory):
    result = call("my_worlds:Nested.Nan", "--steps", 30, "--seed", 4)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("error (step 1, action ")
    assert lines[0].endswith("): the reward is nan")
    assert lines[1] == "  -> find the division by zero or overflow"
    assert "no faults" not in result.output
    assert result.stderr == ""


def test_a_warning_is_no_failure(directory):
    result = call("my_worlds:Huge", "--steps", 30)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith("the reward 1e+07 is huge")
    assert "normalize_rewards=True" in result.stdout
    assert "no faults" not in result.output


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("NoSuch-v0", "Expected an id of Gymnasium"),
        ("my_worlds:Nothing", "Expected an id of Gymnasium"),
        ("my_worlds:number", "a callable that returns a new environment"),
        ("no_such_module:Mine", "No module named 'no_such_module'"),
    ],
)
def test_what_is_no_environment(directory, env, message):
    result = call(env)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


@pytest.mark.parametrize("option", ["--steps", "--seed"])
def test_options_out_of_range(option):
    result = call("Chain-5", option, -1)
    assert result.exit_code == 2
    assert option in result.stderr
