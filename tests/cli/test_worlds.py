"""Keywords and wrappers of environments, kept by a run and used by every command."""

import shutil
import sys

import gymnasium
import pytest
import yaml

from kerasrl2.cli.configuration import read_config, write_config
from kerasrl2.cli.values import parse_wrapper
from kerasrl2.cli.worlds import label, world
from tests.callbacks.test_hyperparameters import shown
from tests.cli.shell import SMALL, fail, said

MODULE = """
import gymnasium
import numpy as np


class Light(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Box(0.0, 1.0, [1], np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length=5, render_mode=None):
        self.length, self.render_mode = length, render_mode

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.zeros(1, np.float32), 1.0, self.time == self.length, False, {}

    def render(self):
        return np.zeros([16, 16, 3], np.uint8)


class Times(gymnasium.RewardWrapper):
    def __init__(self, env, factor=2):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return self.factor * reward


def Lamp(**keywords):
    return gymnasium.wrappers.TimeLimit(Light(**keywords), 9)


gymnasium.register("Light-v0", Light, max_episode_steps=9)
"""
TIMES = "my_lights:Times:factor=3"
WRAPPERS = ["--wrapper", TIMES, "--wrapper", "TimeAwareObservation"]
ARGUMENTS = "train", "a2c", "my_lights:Light-v0", "--num-envs", 2, "--reports", 1
NAME = f"my_lights:Light-v0 with length=4, {TIMES}, TimeAwareObservation"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The current one, with a module that only it leads to."""
    place = tmp_path_factory.mktemp("lights")
    (place / "my_lights.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [p for p in sys.path if p])
        yield place
    sys.modules.pop("my_lights", None)
    gymnasium.registry.pop("Light-v0", None)


@pytest.fixture(scope="module")
def run(directory):
    """A run with a keyword and two wrappers: 4 steps, each of reward 3."""
    run = directory / "run"
    output = said(
        *ARGUMENTS, "--env", "length=4", *WRAPPERS, "--steps", 20, "--run-dir", run,
        *SMALL,
    )  # fmt: skip
    assert output.startswith(f"a2c on {NAME} (2 Gymnasium environments), 20 steps")
    assert " 12.00 " in output  # the evaluation
    return run


def test_the_run_keeps_them(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["env_keywords"] == {"length": 4}
    assert config["wrappers"] == [TIMES, "TimeAwareObservation"]
    assert config["vectorization"] is None
    settings, _ = shown(run)
    assert settings["env.length"] == 4
    assert TIMES in settings["wrappers"]


@pytest.mark.long
def test_evaluate_plays_as_it_was_trained(run):
    few = "--episodes", 2
    assert said("evaluate", run, *few).startswith(f"a2c on {NAME}: return 12.00")
    output = said("evaluate", run, *few, "--env", "length=2")
    assert output.startswith(f"a2c on {NAME.replace('=4', '=2')}: return 6.00")
    output = said("evaluate", run, *few, "--wrapper", "TimeAwareObservation")
    assert "with length=4, TimeAwareObservation: return 4.00" in output
    # Another environment has the run's wrappers, but not its keywords.
    output = said("evaluate", run, *few, "--env", "my_lights:Lamp")
    assert f"on my_lights:Lamp with {TIMES}, TimeAwareObservation: " in output
    assert "return 15.00" in output


@pytest.mark.long
def test_a_file_says_nothing(run):
    command = "evaluate", run / "agent.keras", "--episodes", 2
    assert "Expected `--env`" in fail(*command, "--env", "length=2", *WRAPPERS)
    world = "--env", "my_lights:Light-v0", "--env", "length=2"
    assert "return 6.00" in said(*command, *world, *WRAPPERS)
    assert "shape (2,)" in fail(*command, *world)


def test_record_export_and_check(run):
    output = said("record", run, "-o", run.parent / "a.gif")
    assert output.startswith(f"{NAME}: return 12.00; wrote ")
    assert "wrote" in said("export", run, "-o", run.parent / "exported")
    output = said("check", run, "--steps", 30)
    assert output == f"no faults found in {NAME}, 30 steps"
    arguments = "--env", "length=4", *WRAPPERS, "--steps", 30
    assert said("check", "my_lights:Light-v0", *arguments) == output


@pytest.mark.long
def test_resume_plays_as_it_was_trained(run, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    output = said("resume", copied, "--steps", 40)
    assert f"a2c on {NAME} (2 Gymnasium" in output
    assert " 12.00 " in output  # the evaluation


@pytest.mark.long
@pytest.mark.parametrize(
    "how", [["--vectorization", "async"], ["--env", "subprocess=true"]]
)
def test_other_processes(how, directory, tmp_path):
    run = tmp_path / "run"
    output = said(
        *ARGUMENTS, "--env", "length=4", *WRAPPERS, *how, "--steps", 20,
        "--run-dir", run, *SMALL,
    )  # fmt: skip
    assert f"a2c on {NAME} (2 Gymnasium" in output
    assert " 12.00 " in output  # the evaluation
    assert "return 12.00" in said("evaluate", run, "--episodes", 2)
    assert "return 12.00" in said("record", run, "-o", tmp_path / "a.gif")
    assert "no faults" in said("check", run, "--steps", 30)


@pytest.mark.long
@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            ["--wrapper", "TimeAwareObservation"],
            "--wrapper: Gymnasium's version of CartPole-v1, not the one in TensorFlow",
        ),
        (
            ["--vectorization", "entry-point"],
            "--vectorization: Gymnasium's version of CartPole-v1, not the one in Tens",
        ),
    ],
    ids=["wrapper", "vectorization"],
)
def test_the_version_in_tensorflow_is_left_in_one_line(more, line, tmp_path):
    output = said(
        "train", "a2c", "CartPole-v1", "--steps", 20, "--num-envs", 2, "--reports", 1,
        "--run-dir", tmp_path / "run", *more, *SMALL,
    )  # fmt: skip
    assert output.startswith("a2c on CartPole-v1")
    assert "(2 Gymnasium environments)" in output
    assert f" {line}" in output
    assert "return" in said("evaluate", tmp_path / "run", "--episodes", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--env", "slippery=true"],
            "Received: 'slippery'. Did you mean 'is_slippery'",
        ),
        (["--env", "map_name=9x9"], "Received: map_name=9x9, with which it raised Key"),
        (
            ["--env", "CartPole-v1"],
            "Expected `--env name=value`, for instance `--env i",
        ),
        (["--env", "num_envs=2"], "num_envs=2, which is `--num-envs`"),
        (["--wrapper", "TimeAware"], "Did you mean 'TimeAwareObservation'"),
        (
            ["--wrapper", "StickyAction"],
            "which raised TypeError: StickyAction.__init__",
        ),
        (["--wrapper", "StickyAction:p=1"], "Expected a keyword of `StickyAction`"),
        (["--wrapper", "StickyAction:"], "Expected `--wrapper NAME`, `MODULE:NAME` or"),
        (
            ["--wrapper", "GrayscaleObservation"],
            "Received: GrayscaleObservation, which",
        ),
        (["--wrapper", "no_such_module:X"], "Expected the module 'no_such_module'"),
        (
            ["--wrapper", "NormalizeObservation"],
            "Expected `normalize_observations=True` of",
        ),
        (["--vectorization", "entry_point"], "Did you mean 'vector_entry_point'"),
        (
            ["--vectorization", "entry-point"],
            "an id with a `vector_entry_point`",
        ),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = fail("train", "a2c", "FrozenLake-v1", *arguments, "--steps", 20, *SMALL)
    assert message.replace("=9x9", "='9x9'") in line
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_of_other_commands(runs):
    run = runs / "run-1"
    line = fail("evaluate", run, "--env", "CartPole-v0", "--env", "CartPole-v1")
    assert "Expected one other environment. Received: --env CartPole-v0 --env C" in line
    line = fail("evaluate", run, "--env", "max_episode_step=3")
    assert "Did you mean 'max_episode_steps'" in line
    line = fail("check", "CartPole-v1", "--env", "CartPole-v0")
    assert "Expected `--env name=value`" in line


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("env_keywords", ["a"], "Expected `env_keywords` in .* as a dictionary"),
        ("env_keywords", {"backend": "x"}, "backend='x', which is `--backend`"),
        (
            "wrappers",
            [{"TimeLimit": 3}],
            "Expected `wrappers` in .* as a list of words",
        ),
        ("vectorization", "fast", "Expected `vectorization` in .*'sync' or 'async' or"),
    ],
)
def test_what_no_run_keeps(tmp_path, key, value, message):
    write_config(tmp_path, algorithm="a2c", env="CartPole-v1", **{key: value})
    with pytest.raises(ValueError, match=message):
        world(read_config(tmp_path))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("ClipReward", ("ClipReward", {})),
        ("a.b:C.D", ("a.b:C.D", {})),
        ("a:C:x=1e-3,y=z", ("a:C", {"x": 1e-3, "y": "z"})),
        ("R:shape=[84, 84],text=a,b:c", ("R", {"shape": [84, 84], "text": "a,b:c"})),
    ],
)
def test_how_a_wrapper_is_written(text, parsed):
    assert parse_wrapper(text) == parsed


def test_runs_of_earlier_versions_have_none():
    assert world({"env": "A-v0"}) == {
        "env": "A-v0", "env_keywords": {}, "wrappers": [], "vectorization": None,
        "backend": "auto",
    }  # fmt: skip
    assert label({"env": "A-v0"}) == "A-v0"
    assert label({"env": "A", "env_keywords": {"b": True, "time_limit": 3}}) == (
        "A with b=true"
    )
