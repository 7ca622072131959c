"""`kerasrl2 train --seeds`: processes that stand in for runs, and three real ones."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from kerasrl2.cli import seeds as module
from kerasrl2.cli.arguments import several
from tests.cli.shell import PPO, SMALL, call, console, fail

OPTIONS = {
    "seed": None, "resume": False, "backend": "auto", "vectorization": None,
    "workers": None, "address": None,
}  # fmt: skip
STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path
given = json.loads(sys.argv[1])
run, seed = Path(given["run_dir"]), given["seed"]
if seed == 3:
    sys.exit("Error: a wrong world")
run.mkdir(parents=True, exist_ok=True)
(run / "config.yaml").write_text("{algorithm: a2c, env: A}")
(run / "begin").write_text(str(time.time()))
print("hello", flush=True)
if given["env_id"] == "kills":
    os.kill(os.getpid(), 9)
if given["env_id"] == "long":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    time.sleep(30)
(run / "metrics.csv").write_text(
    f"env_steps,return,val_return\\n100,1.0,{seed}.0\\n")
time.sleep(0.2)
(run / "end").write_text(str(time.time()))
"""


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Runs of a moment; one with the seed 3 fails. Returns the directory of runs."""
    monkeypatch.setattr(module, "_CHILD", STAND_IN)
    monkeypatch.setattr(module, "_LOOKS", 0.02)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1-3", (1, 2, 3)), ("7", (7,)), ("0,4, 8-9", (0, 4, 8, 9)), ("5-5", (5,))],
)
def test_what_seeds_may_be(text, seeds):
    assert several(text) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [("5-1", "from the smaller to the larger"), ("", "Received: "), ("1-", "such as 1"),
     ("a", "Received: a"), ("-1", "Received: -1"), ("1,2,1", "1 twice"),
     ("1-3,2", "2 twice"), ("0-99999", "more than 1,000"), ("1.5", "Received: 1.5"),
     ("9999999999", "Received: 9999999999")],
)  # fmt: skip
def test_what_seeds_may_not_be(text, message):
    with pytest.raises(typer.BadParameter, match="Expected ") as caught:
        several(text)
    assert message in str(caught.value)


def test_wrong_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = "train", "a2c", "CartPole-v1"
    code, _, errors = console(*train, "--seeds", "5-1")
    assert code == 2
    assert "'--seeds'" in errors
    assert "Received: 5-1" in errors
    assert len(errors.splitlines()) == 1
    assert "Received: both, --seed 1." in fail(*train, "--seeds", "1-2", "--seed", 1)
    assert "Received: --jobs 2 alone" in fail(*train, "--jobs", 2)
    assert "`--run-dir` with `--resume`" in fail(*train, "--seeds", "1", "--resume")
    assert "which is `sac` here" in fail("train", "SAC", "A", "--seeds", "1-2")
    (tmp_path / "mine" / "seed-2").mkdir(parents=True)
    (tmp_path / "mine" / "seed-2" / "config.yaml").write_text("{}")
    line = fail(*train, "--seeds", "1-2", "--run-dir", "mine")
    assert "which holds a run already" in line
    assert [path.name for path in tmp_path.rglob("*")] == [
        "mine", "seed-2", "config.yaml",
    ]  # fmt: skip


def test_each_has_its_directory_and_a_row(stand_in, capsys):
    module.train_each("a2c", "A", (1, 2, 4), jobs=2, **OPTIONS)
    lines = capsys.readouterr().out.splitlines()
    assert [len(line) <= 80 for line in lines].count(False) == 0
    table = [line.split() for line in lines if line.endswith(("-1", "-2", "-3"))][-3:]
    assert {tuple(row[:4]) for row in table} == {
        (str(seed), "100", f"{seed}.000", "-") for seed in (1, 2, 4)
    }
    assert any(line.startswith("seed 4 ") for line in lines)
    assert "last evaluation over 3 seeds: 2.333 +- 1.528" in " ".join(lines)
    assert sorted(p.name for p in stand_in.iterdir()) == [
        f"a2c-A-{n}" for n in (1, 2, 3)
    ]
    assert (stand_in / "a2c-A-1" / "output.txt").read_text() == "hello\n"


@pytest.mark.parametrize(("jobs", "most"), [(None, 1), (3, 3)])
def test_no_more_than_jobs_at_once(jobs, most, stand_in):
    module.train_each("a2c", "A", (1, 2, 4), jobs=jobs, **OPTIONS)
    spans = []
    for run in stand_in.iterdir():
        spans.append([float((run / name).read_text()) for name in ("begin", "end")])
    counts = [sum(a <= begin < b for a, b in spans) for begin, _ in spans]
    assert max(counts) == most


def test_one_failure_is_named_and_the_others_go_on(stand_in, capsys):
    with pytest.raises(typer.Exit) as ended:
        module.train_each("a2c", "A", (3, 5), run_dir=stand_in, **OPTIONS)
    assert ended.value.exit_code == 1
    output = capsys.readouterr().out
    assert "seed 3 failed: Error: a wrong world" in output
    assert (stand_in / "seed-5" / "end").exists()
    assert "(failed)" in output
    assert not (stand_in / "seed-3").exists()


@pytest.mark.skipif(os.name != "posix", reason="Linux and macOS only")
def test_a_run_that_is_killed_has_failed(stand_in, capsys):
    """As where memory is short: it has said nothing, and its status is negative."""
    with pytest.raises(typer.Exit) as ended:
        module.train_each("a2c", "kills", (1,), run_dir=stand_in, **OPTIONS)
    assert ended.value.exit_code == 1
    output = capsys.readouterr().out
    assert "seed 1 failed: its process ended with signal 9, perhaps for" in output
    assert f"see {stand_in}" in " ".join(output.split())
    assert "seed-1 (failed)" in output


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_stops_all(number, code, stand_in, capfd, monkeypatch):
    def both_have_begun(seconds, begun=[]):  # noqa: B006
        if len(list(stand_in.rglob("begin"))) == 2 and not begun:
            time_sleep(0.2)  # their handlers are there
            begun.append(os.kill(os.getpid(), number))
        time_sleep(seconds)

    time_sleep = time.sleep
    monkeypatch.setattr(module.time, "sleep", both_have_begun)
    started = time.monotonic()
    with pytest.raises(typer.Exit) as ended:
        module.train_each("a2c", "long", (1, 2, 4), jobs=2, **OPTIONS)
    assert ended.value.exit_code == code
    assert time.monotonic() - started < 10.0
    output, errors = capfd.readouterr()
    assert errors == "stopping all runs ...\n"
    for directory in ("a2c-long-1", "a2c-long-2"):
        assert f"to continue: kerasrl2 resume runs/{directory}" in output
    assert "not begun: seeds 4" in output
    assert "failed:" not in output


def test_processes_end_with_the_one_that_began_them(tmp_path):
    """Their input ends when it is killed, which does to them what SIGTERM does."""
    code = "from kerasrl2.cli import seeds; import threading; "
    code += "print('ready', flush=True); seeds._end_with_parent()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    process.stdin.close()
    assert process.wait(20) == -signal.SIGTERM
    process.stdout.close()


@pytest.mark.long
def test_real_runs_and_going_on(tmp_path):
    arguments = [
        "train", "ppo", "CartPole-v1", "--num-envs", 4, "--reports", 2, *SMALL, *PPO,
        "--run-dir", tmp_path / "all", "--jobs", 2,
    ]  # fmt: skip
    result = call(*arguments, "--steps", 128, "--seeds", "1")
    assert result.exit_code == 0, result.output
    runs = sorted((tmp_path / "all").iterdir())
    assert [run.name for run in runs] == ["seed-1"]
    for run in runs:
        assert {"agent.keras", "best.keras", "output.txt"} <= {*os.listdir(run)}
        assert "128 steps in" in (run / "output.txt").read_text()
    result = call(*arguments, "--steps", 256, "--seeds", "1-2", "--resume")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines() if "seed-" in line]
    assert [row[1] for row in rows[-2:]] == ["256", "256"]
    assert json.loads((runs[0] / "best.json").read_text())["episodes"] == 2
