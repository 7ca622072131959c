"""Tables and pictures of the docs that are made of `docs/results/*.jsonl`."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import curves
from tests.benchmarks.score_table import name_of, read_runs, table

DOCS = Path(__file__).parents[1] / "docs"


def line(algorithm="ppo", env="CartPole-v1", seed=0, **more):
    base = {"algorithm": algorithm, "env": env, "seed": seed, "steps": 100}
    return {**base, "return": 1.0, **more}


def written(path, *lines):
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def test_lines_are_sorted_and_the_last_of_a_seed_counts(tmp_path):
    first = written(tmp_path / "a", line(seed=1), line(seed=0), line(seed=1, steps=7))
    second = written(tmp_path / "b", line(seed=2), line("dqn"))
    runs = read_runs(first, second)
    assert list(runs) == [("ppo", "CartPole-v1"), ("dqn", "CartPole-v1")]
    found = [(each["seed"], each["steps"]) for each in runs["ppo", "CartPole-v1"]]
    assert found == [(0, 100), (1, 7), (2, 100)]


def test_settings_that_are_not_the_zoos_are_named():
    assert name_of(line()) == "ppo"
    assert name_of(line("ppo kl", set={"clip_range": None})) == "ppo kl"
    tuned = {"gamma": 0.98, "num_envs": 8}  # as in the zoo
    assert name_of(line(set=tuned)) == "ppo"
    assert name_of(line(set={**tuned, "gamma": 0.9})) == "ppo, gamma=0.9"


@pytest.mark.long
def test_rows_of_the_table(tmp_path):
    lines = [line(seed=n, **{"return": value}) for n, value in enumerate([1, 2, 3, 4])]
    lines += [line("a2c", "Pendulum-v1", n, **{"return": -n}) for n in range(5)]
    lines += [line("random", seed=n, **{"return": 20 + n}) for n in range(3)]
    _, _, *rows = table(read_runs(written(tmp_path / "a", *lines))).splitlines()
    a2c, ppo = ([cell.strip() for cell in row.split("|")[1:-1]] for row in rows)
    assert a2c[:5] == ["a2c", "Pendulum-v1", "100", "5", "-2.0"]
    low, high = map(float, a2c[5].split(" to "))
    assert -4.0 <= low < -2.0 < high <= 0.0
    assert a2c[6:] == ["-4.0 to 0.0", "-163 (1,000,000, rl-zoo)", "-"]
    assert ppo == [
        "ppo", "CartPole-v1", "100", "4", "2.5", "-", "1.0 to 4.0",
        "500 (100,000, rl-zoo)", "21.0",
    ]  # fmt: skip


def test_curves_of_older_and_newer_lines():
    older = curves.metrics(line(training_returns=[1.0, 2.0], steps=100))
    np.testing.assert_array_equal(older["env_steps"], [50, 100])
    newer = line(training_returns=[1.0, 2.0], curve_steps=[64, 128])
    np.testing.assert_array_equal(curves.metrics(newer)["env_steps"], [64, 128])
    assert curves.curves([line(), newer])[0]["return"].tolist() == [1.0, 2.0]


def test_every_page_with_curves_shows_them():
    runs = read_runs(*curves.FILES)
    for page in curves.PAGES:
        picture = f"_static/curves/{page}.svg"
        drawn = bool(curves.panels_of_page(runs, page))
        text = (DOCS / "algorithms" / f"{page}.md").read_text()
        assert (f"](../{picture})" in text) == drawn, page
        assert (DOCS / picture).exists() == drawn, page


def test_environments_with_a_page_of_their_own_are_only_there():
    runs = read_runs(*curves.FILES)
    assert "BitFlip-15" not in curves.panels_of_page(runs, "dqn")
    assert list(curves.panels_of_page(runs, "hindsight")) == ["BitFlip-15"]
    (panel,) = curves.panels_of_page(runs, "recurrent").values()
    assert {name: len(found) for name, found in panel.items()} == {
        "ppo": 5, "ppo, recurrent=None, sequence_length=None": 5,
    }  # fmt: skip


@pytest.mark.long
def test_the_table_is_that_of_the_lines():
    """Else: `... tests.benchmarks.scores table ...scores.jsonl > ...scores.md`."""
    shown = (DOCS / "results" / "scores.md").read_text()
    assert shown == table(read_runs(DOCS / "results" / "scores.jsonl")) + "\n"


@pytest.mark.long
def test_pictures_are_the_same_each_time(tmp_path):
    panels = curves.panels_of_page(read_runs(*curves.FILES), "redq")
    for name in ("a.svg", "b.svg"):
        curves.draw(panels, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
