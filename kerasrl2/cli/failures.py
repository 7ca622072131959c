"""Turns expected failures into one line and an exit code."""

import contextlib
import shlex

import typer

_EXHAUSTED = "ResourceExhaustedError"  # of TensorFlow, which is not imported for it
EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


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
        _fail(str(error))
    except Exception as error:
        if not isinstance(error, MemoryError) and type(error).__name__ != _EXHAUSTED:
            raise
        _fail(
            "Expected a run that fits into memory. Choose fewer environments, shorter "
            f"rollouts or a smaller buffer. Received: {error}"
        )


def _fail(message):
    typer.echo(f"Error: {' '.join(message.split())}", err=True)
    raise typer.Exit(EXIT_FAILURE) from None


def usage_line(error, arguments):
    """What is wrong with arguments, what was expected and received, in one line.

    Args:
        error: Exception of typer's with `format_message()` and a context or None.
        arguments: List of strings, what the shell passed.
    """
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if "Received: " in message:
        return f"Error: {message}"
    parts = [message if message.endswith("?") else f"{message.rstrip('.')}."]
    if context is not None:
        usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
        parts.append(f"Expected: `{usage}`.")
    parts.append(f"Received: `{shlex.join(['kerasrl2', *arguments])[:200]}`.")
    command = "kerasrl2" if context is None else context.command_path
    parts.append(f"`{command} --help` lists all options.")
    return "Error: " + " ".join(parts)
