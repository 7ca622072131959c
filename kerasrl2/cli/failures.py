"""Turns expected failures into one line and an exit code."""

import contextlib
import shlex
import signal

import typer

_EXHAUSTED = "ResourceExhaustedError"  # of TensorFlow, which is not imported for it
EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


@contextlib.contextmanager
def plain_failures():
    """Prints the message of expected exceptions, without a traceback, and exits."""
    from kerasrl2.errors import CheckpointError, EnvironmentFailure

    expected = ValueError, ImportError, EnvironmentFailure, CheckpointError, OSError
    heard = []
    try:
        with _heard_signals(heard):
            yield
    except KeyboardInterrupt:
        _end_interrupted()
    except (typer.Exit, SystemExit):
        raise
    except Exception as error:
        if heard:  # native code that an interrupt met fails in ways of its own
            _end_interrupted()
        if isinstance(error, expected):
            _fail(str(error))
        if not isinstance(error, MemoryError) and type(error).__name__ != _EXHAUSTED:
            raise
        _fail(
            "Expected a run that fits into memory. Choose fewer environments, shorter "
            f"rollouts or a smaller buffer. Received: {error}"
        )


@contextlib.contextmanager
def _heard_signals(heard):
    """Ctrl-C and SIGTERM raise within, and their numbers are kept in a list."""

    def hear(number, frame):
        heard.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    before = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _end_interrupted():
    typer.echo("Interrupted.", err=True)
    raise typer.Exit(EXIT_INTERRUPTED) from None


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
