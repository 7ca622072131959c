"""The command line: `kerasrl2 train`, `evaluate`, `record`, `export` and others."""

import os
import sys

try:
    import typer

    from kerasrl2.cli import comparing  # noqa: F401  (adds its commands to `app`)
    from kerasrl2.cli.app import app
    from kerasrl2.cli.failures import (
        EXIT_INTERRUPTED,
        EXIT_UNREAD,
        EXIT_USAGE,
        drop_unread_output,
        is_of_unread_output,
        usage_line,
    )
except KeyboardInterrupt:
    sys.stderr.write("Interrupted.\n")
    sys.exit(130)

__all__ = ["app", "main"]


def main():
    """Entry point of the console script: a wrong argument is one line, not a page."""
    try:
        code = _called()
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        if not is_of_unread_output(error):
            raise
        drop_unread_output()
        code = EXIT_UNREAD
    if code >= EXIT_INTERRUPTED:
        _leave_compilation(code)
    sys.exit(code)


def _called():
    """Does what the arguments say; the exit code."""
    try:
        code = app(prog_name="kerasrl2", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of typer's
            raise
        typer.echo(usage_line(error, sys.argv[1:]), err=True)
        return getattr(error, "exit_code", EXIT_USAGE)
    return code if isinstance(code, int) else 0


def _leave_compilation(code):
    """Ends the process at once where XLA is still compiling, for nobody."""
    interrupts = sys.modules.get("kerasrl2.training.interrupts")
    if interrupts is not None and interrupts.busy():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
