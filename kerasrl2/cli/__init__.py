"""The command line: `kerasrl2 train`, `evaluate`, `record`, `export` and others."""

import sys

import typer

from kerasrl2.cli.app import app
from kerasrl2.cli.failures import EXIT_USAGE, usage_line

__all__ = ["app", "main"]


def main():
    """Entry point of the console script: a wrong argument is one line, not a page."""
    try:
        code = app(prog_name="kerasrl2", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of typer's
            raise
        typer.echo(usage_line(error, sys.argv[1:]), err=True)
        sys.exit(getattr(error, "exit_code", EXIT_USAGE))
    sys.exit(code if isinstance(code, int) else 0)
