"""`kerasrl2 ... | head`: a command whose output nobody reads ends as Unix tools do."""

import contextlib
import os
import subprocess
import sys

import pytest

from kerasrl2.cli import listing
from tests.cli.shell import SMALL, console, succeed

EXIT_UNREAD = 141  # 128 + SIGPIPE


def unread(*arguments, streams=("stdout",)):
    """`(exit code, output, errors)` of a process, with streams that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    given |= dict.fromkeys(streams, writing)
    code = "from kerasrl2.cli import main; main()"
    with contextlib.closing(os.fdopen(writing, "wb")):
        process = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            **given, env={**os.environ, "KERASRL2_CACHE": ""}, timeout=300, check=False,
        )  # fmt: skip
    return process.returncode, process.stdout or b"", process.stderr or b""


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    ["list", "list environments", "list settings ppo", "--help", "--version",
     "train --help"],
)  # fmt: skip
def test_commands_that_print_end_quietly(words):
    assert unread(*words.split()) == (EXIT_UNREAD, b"", b"")


@pytest.mark.long
@pytest.mark.parametrize("words", ["list things", "list --things", ""])
def test_so_do_those_whose_errors_nobody_reads(words):
    code, output, _ = unread(*words.split(), streams=["stderr"])
    assert code == EXIT_UNREAD
    assert words == "" or output == b""
    assert unread(*words.split(), streams=["stdout", "stderr"])[0] == EXIT_UNREAD


@pytest.mark.long
def test_a_pipe_closed_after_the_first_line():
    code = "from kerasrl2.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "list", "settings", "ppo"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == b"learning_rate = 0.0003\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    # The rest may have been written to the pipe before it was closed.
    assert process.returncode in (0, EXIT_UNREAD)


def test_another_broken_pipe_is_told(monkeypatch):
    def broken(*arguments):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(listing, "show", broken)
    assert console("list") == (1, "", "Error: [Errno 32] Broken pipe\n")


@pytest.mark.long
def test_a_run_that_nobody_watches_ends_and_can_be_continued(tmp_path):
    directory = tmp_path / "run"
    more = "--steps", 400, "--reports", 2, "--run-dir", directory
    found = unread("train", "a2c", "CartPole-v1", *more, *SMALL)
    assert found == (EXIT_UNREAD, b"", b"")
    assert "400 steps in" in succeed("resume", directory)
