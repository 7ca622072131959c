"""Tests of `kerasrl2 plot` and `kerasrl2 report`, on runs that are made of files."""

import pytest

from kerasrl2.cli.configuration import write_config
from kerasrl2.cli.grouping import grouped
from tests.cli.shell import fail, succeed


@pytest.fixture
def made(tmp_path):
    """A function that makes a run of such evaluations and returns its directory."""
    count = 0

    def make(algorithm, *returns, env="CartPole-v1", settings=None, **config):
        nonlocal count
        count += 1
        directory = tmp_path / f"run-{count}"
        directory.mkdir()
        settings = {"gamma": 0.9} if settings is None else settings
        write_config(
            directory, algorithm=algorithm, env=env, settings=settings, **config
        )
        rows = ["epoch,env_steps,return,val_return"]
        rows += [f"{i},{100 * i + 100},{r / 2},{r}" for i, r in enumerate(returns)]
        (directory / "metrics.csv").write_text("\n".join(rows) + "\n")
        return directory

    return make


NAN = float("nan")


def test_groups(made):
    runs = [
        made("ppo", 1.0),
        made("ppo", 2.0, seed=7, reports=3),
        made("a2c", 3.0),
        made("ppo", 4.0, env="Acrobot-v1"),
        made("ppo", 5.0, env_keywords={"size": 3}),
    ]
    groups = grouped(runs)
    assert {env: {k: len(v) for k, v in a.items()} for env, a in groups.items()} == {
        "CartPole-v1": {"ppo": 2, "a2c": 1},
        "Acrobot-v1": {"ppo": 1},
        "CartPole-v1 with size=3": {"ppo": 1},
    }


def test_runs_with_other_settings_are_no_seeds_of_each_other(made):
    runs = [made("ppo", 1.0, settings={"gamma": gamma}) for gamma in (0.9, 0.9, 0.99)]
    runs.append(made("ppo", 1.0, settings={"gamma": 0.9, "hidden": [8]}))
    (algorithms,) = grouped(runs).values()
    assert {name: len(found) for name, found in algorithms.items()} == {
        "ppo, gamma=0.9, hidden=None": 2,
        "ppo, gamma=0.99, hidden=None": 1,
        "ppo, gamma=0.9, hidden=[8]": 1,
    }


@pytest.mark.long
def test_table(made):
    runs = [made("ppo", 1.0, value) for value in (500, 480, 120, 500, 460)]
    runs += [made("a2c", 50.0), made("dqn", -1.5, 2.5, env="Other-v0")]
    assert succeed("report", *runs).splitlines() == [
        "environment  algorithm  runs    IQM  95 % interval",
        "CartPole-v1  ppo           5  480.0  240.0 to 500.0",
        "CartPole-v1  a2c           1     50  none: one run",
        "Other-v0     dqn           1    2.5  none: one run",
        "P(ppo better than a2c) on CartPole-v1: 1.00, no interval: one run",
    ]
    best = succeed("report", runs[-1], "--score", "best")
    assert " 2.5 " in best
    assert " 1.25 " in succeed("report", runs[-1], "--score", "training")


@pytest.mark.long
def test_two_algorithms_are_compared(made):
    runs = [made("ppo", value) for value in (3.0, 4.0, 5.0)]
    runs += [made("a2c", value) for value in (1.0, 2.0, 3.0)]
    *_, last = succeed("report", *runs).splitlines()
    assert last.startswith("P(ppo better than a2c) on CartPole-v1: 0.94, 95 % interval")
    runs.append(made("dqn", 1.0))
    assert "better than" not in succeed("report", *runs)


@pytest.mark.long
def test_profiles(made, tmp_path):
    path = tmp_path / "profiles.png"
    output = succeed("report", made("ppo", 1.0), made("ppo", 2.0), "-o", path)
    assert output.splitlines()[-1] == f"wrote {path}"
    assert path.stat().st_size > 5000


@pytest.mark.long
def test_curves(made, tmp_path):
    path = tmp_path / "curves.svg"
    runs = [made("ppo", 1.0, 2.0, NAN), made("ppo", 2.0, 5.0), made("a2c", 1.0, 1.0)]
    runs += [made("a2c", 1.0, env="Other-v0"), runs[0] / "metrics.csv"]
    for options in (
        [],
        ["--statistic", "iqm", "--interval", 0.9, "--smoothing", 2],
        ["--returns", "evaluation"],
    ):
        assert succeed("plot", *runs, "-o", path, *options) == f"wrote {path}\n"
        assert path.stat().st_size > 5000
        path.unlink()


@pytest.mark.parametrize("command", ["plot", "report"])
def test_runs_without_episodes(command, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = made("ppo", NAN, NAN)
    line = fail(command, made("ppo", 1.0), empty)
    assert "Expected runs with a return: " in line
    assert f"Received: {empty}, which has none" in line
    assert not (tmp_path / "learning_curve.png").exists()


@pytest.mark.parametrize("command", ["plot", "report"])
def test_what_is_no_run(command, tmp_path):
    assert "There is no" in fail(command, tmp_path)
    assert "There is no file" in fail(command, tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("name,value\na,1\n")
    assert "at least one finished epoch" in fail(command, tmp_path / "a.csv")


@pytest.mark.long
def test_wrong_options(made, tmp_path):
    run = made("ppo", 1.0)
    assert "`--interval`" in fail("plot", run, "--interval", "wide")
    assert "`interval`" in fail("plot", run, "--interval", 95)
    assert "`statistic`" in fail("plot", run, "--statistic", "median")
    assert "`returns`" in fail("plot", run, "--returns", "all")
    assert "`score`" in fail("report", run, "--score", "first")
    assert "nowhere" in fail("report", run, "-o", tmp_path / "nowhere" / "a.png")
