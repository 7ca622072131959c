"""Tests of `kerasrl2.cli.values` and `kerasrl2.cli.runs`."""

from typing import Literal

import pytest

from kerasrl2.agents import DQN, PPO, Rainbow
from kerasrl2.cli.configuration import read_config, write_config
from kerasrl2.cli.runs import free_run_directory
from kerasrl2.cli.values import check_kinds, parse_assignments, settable


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.9", 0.9), ("1e-3", 1e-3), ("1E3", 1000.0), ("3", 3), ("-2", -2),
        ("true", True), ("false", False), ("null", None), ("[64, 32]", [64, 32]),
        ("relu", "relu"), ("linear 1e-3", "linear 1e-3"), ("nature_cnn", "nature_cnn"),
        ("a: [", "a: ["), ("", None), ("x=y", "x=y"),
    ],
)  # fmt: skip
def test_values(text, value):
    parsed = parse_assignments([f"name={text}"])["name"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_names_may_be_written_with_dashes_and_the_last_one_counts():
    assert parse_assignments(["clip-range=1", "clip_range=2"]) == {"clip_range": 2}


@pytest.mark.parametrize("text", ["gamma", "", "=1", " =1"])
def test_what_is_no_assignment(text):
    with pytest.raises(ValueError, match="--set name=value"):
        parse_assignments([text])


def test_config_round_trip(tmp_path):
    config = {"algorithm": "ppo", "env": "A-v0", "settings": {"hidden": [1], "x": None}}
    write_config(tmp_path, **config)
    assert read_config(tmp_path) == config
    assert list(read_config(tmp_path)) == list(config)


def test_config_cannot_run_code(tmp_path):
    text = "{algorithm: ppo, env: !!python/object/apply:os.system ['true']}"
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="readable YAML"):
        read_config(tmp_path)


def test_free_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [free_run_directory(None, "ppo", "module:ALE/Pong-v5").name for _ in "ab"]
    assert names == ["ppo-module_ALE_Pong-v5-1", "ppo-module_ALE_Pong-v5-2"]
    empty = free_run_directory(tmp_path / "a" / "b", "ppo", "A-v0")
    assert empty.is_dir()
    assert free_run_directory(empty, "ppo", "A-v0") == empty


class Declared(PPO):
    """Keywords of all kinds, with annotations and without."""

    def __init__(
        self,
        *args,
        alpha="auto",
        target: float | Literal["auto"] = 0.2,
        bound: float | None = 0.5,
        weight: float = 1.0,
        count: int | Literal["all"] = 3,
        sizes: list[int] | None = None,
        word: str | None = None,
        switch: bool | Literal["auto"] = True,
        weights: tuple[float | Literal["auto"], ...] = (1.0,),
        unknown: "Nowhere" = 1.0,  # noqa: F821
        schedule: PPO | float = 1.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("alpha", ["0.2", "auto", "3", "true"], ["[1]", "null"]),
        ("target", ["0.2", "1", "auto", "linear 1 2"],
         ["automatic", "null", "true", "[1]", "yes"]),
        ("bound", ["0.2", "null", "linear 3"], ["auto", "true"]),
        ("weight", ["0.2", "1"], ["null", "auto", "false"]),
        ("count", ["2", "all"], ["2.5", "null", "linear 3", "true"]),
        ("sizes", ["[1, 2]", "[]", "null"], ["[1.5]", "3", "[a]", "[true]"]),
        ("word", ["hello", "null"], ["3", "true"]),
        ("switch", ["true", "auto"], ["1", "on and off", "null"]),
        ("weights", ["[1.5, auto]", "[2]"], ["[much]", "auto"]),
        ("unknown", ["2.5"], ["auto", "null"]),
        ("schedule", ["2.5", "linear 2"], ["null", "auto"]),
        ("gamma", ["0.5"], ["null", "auto"]),
        ("max_gradient_norm", ["0.5", "null"], ["auto"]),
        ("batch_size", ["16", "null"], ["1.5", "auto"]),
        ("hidden", ["[3, 4]"], ["3", "[1.5]", "null", "many"]),
        ("clip_range", ["0.1", "linear 0.2"], ["auto", "true", "[1]"]),
        ("activation", ["relu", "on"], ["3", "null"]),
        ("encoder", ["mlp"], ["[1]"]),
    ],
)  # fmt: skip
def test_kinds(name, taken, refused):
    for text in taken:
        check_kinds(parse_assignments([f"{name}={text}"]), Declared)
    for text in refused:
        values = parse_assignments([f"{name}={text}"])
        with pytest.raises(ValueError, match=f"Expected `{name}` as .* Received: "):
            check_kinds(values, Declared)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("alpha=[1]", "a number or a word"),
        ("target=much", "a number or 'auto'"),
        ("bound=much", "a number or null"),
        ("count=2.5", "an integer or 'all'"),
        ("switch=1", "true or false or 'auto'"),
        ("hidden=3", r"a list of integers such as \[64, 64\]"),
        ("gamma=high", "a number"),
    ],
)
def test_messages_say_what_is_taken(assignment, words):
    with pytest.raises(ValueError, match=f"` as {words}. Received: "):
        check_kinds(parse_assignments([assignment]), Declared)


@pytest.mark.parametrize("agent_class", [DQN, Rainbow])
def test_ranks_can_be_asked_for(agent_class):
    for text in ("rank", "proportional", "true", "false"):
        check_kinds(parse_assignments([f"prioritized={text}"]), agent_class)
    with pytest.raises(
        ValueError, match="as true or false or 'proportional' or 'rank'"
    ):
        check_kinds({"prioritized": "ranks"}, agent_class)


def test_settable_are_the_plain_keywords():
    assert settable(Declared)["target"] == 0.2
    assert settable(Declared).keys() - settable(PPO) == {
        "alpha", "target", "bound", "weight", "count", "sizes", "word", "switch",
        "weights", "unknown", "schedule",
    }  # fmt: skip
    for agent_class in (PPO, DQN, Rainbow):
        names = settable(agent_class)
        assert {"hidden", "gamma", "learning_rate", "xla"} <= set(names)
        assert not {"self", "cls", "env", "network", "kwargs", "seed"} & set(names)
    assert settable(Rainbow).keys() == settable(DQN).keys()
    assert settable(Rainbow)["n_step"] == 3
