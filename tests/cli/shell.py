"""Calls of the command line in this process."""

import contextlib
import io
import sys

import pytest
from typer.testing import CliRunner

from kerasrl2.cli import app, main

SMALL = ["--set", "hidden=[4]", "--set", "xla=false", "--eval-episodes", "2"]
PPO = ["--set", "rollout_length=8", "--set", "batch_size=16", "--set", "num_epochs=2"]
TRAIN = ["train", "a2c", "CartPole-v1", "--seed", 5, "--reports", 4, *SMALL]


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def succeed(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def said(*arguments):
    """What a call that succeeds prints, with one space between words."""
    return " ".join(succeed(*arguments).split())


def fail(*arguments, code=1):
    """The one line on the error stream of a call that fails."""
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def console(*arguments):
    """`(exit code, output, errors)` of the console script with these arguments."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        patch.setattr(sys, "argv", ["kerasrl2", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code, output.getvalue(), errors.getvalue()


def files_of(directory):
    """All files below a directory with their contents: what a refusal leaves alone."""
    found = (p for p in sorted(directory.rglob("*")) if p.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}
