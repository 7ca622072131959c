"""Tests of `kerasrl2.cli.values` and `kerasrl2.cli.runs`."""

import pytest

from kerasrl2.cli.runs import free_run_directory, read_config, write_config
from kerasrl2.cli.values import parse_assignments


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
