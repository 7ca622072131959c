"""Turns expected failures into one line and an exit code."""

import contextlib

import typer

EXIT_FAILURE, EXIT_INTERRUPTED = 1, 130


@contextlib.contextmanager
def plain_failures():
    """Prints the message of expected exceptions, without a traceback, and exits."""
    from kerasrl2.errors import CheckpointError, EnvironmentFailure

    expected = ValueError, ImportError, EnvironmentFailure, CheckpointError, OSError
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except expected as error:
        typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_FAILURE) from None
