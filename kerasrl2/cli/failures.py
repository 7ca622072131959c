"""Turns expected failures into one line and an exit code."""

import contextlib
import os
import re
import select
import shlex
import signal
import sys

import typer

from kerasrl2._checks import did_you_mean
from kerasrl2._words import command_here, keyword_here, word_here

# Of TensorFlow and of Gymnasium, which are not imported for them.
_EXHAUSTED, _NOT_INSTALLED = "ResourceExhaustedError", "DependencyNotInstalled"
EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
EXIT_UNREAD = 141  # 128 + SIGPIPE: what a shell says of `yes` in `yes | head`


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
        if isinstance(error, BrokenPipeError) and _unread():
            raise  # `main` ends quietly
        if isinstance(error, expected) or type(error).__name__ == _NOT_INSTALLED:
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

    with signals_to(hear, [signal.SIGINT, signal.SIGTERM]):
        yield


@contextlib.contextmanager
def signals_to(hear, numbers):
    """Within, signals of these numbers call `hear`, if this is the main thread."""
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number in numbers:
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


def is_of_unread_output(error):
    """Whether an exception that left a command says that nobody reads its output.

    Typer and rich make `SystemExit` of it.
    """
    return isinstance(error, BrokenPipeError) or isinstance(
        error.__context__, BrokenPipeError
    )


def drop_unread_output():
    """What is still to be written goes nowhere: Python would complain as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in _unread():
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _unread():
    """List of the output and error stream, if they are pipes that nobody reads."""
    found = []
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):  # no pipe, or no `poll` here
            poll = select.poll()
            poll.register(stream.fileno(), 0)  # errors are told unasked
            found += [stream for _, event in poll.poll(0) if event & select.POLLERR]
    return found


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
    message = _with_our_words(message, context)
    parts = [message if message.endswith("?") else f"{message.rstrip('.')}."]
    if context is not None:
        usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
        parts.append(f"Expected: `{usage}`.")
    parts.append(f"Received: `{shlex.join(['kerasrl2', *arguments])[:200]}`.")
    command = "kerasrl2" if context is None else context.command_path
    parts.append(f"`{command} --help` lists all options.")
    return "Error: " + " ".join(parts)


def _with_our_words(message, context):
    """The message on an unknown command or option, with what it is called here."""
    command = re.fullmatch(r"No such command '(.+)'\.?", message)
    if command is not None:
        known = getattr(getattr(context, "command", None), "commands", {})
        here = command_here(command[1])
        more = f". That is `kerasrl2 {here}` here" if here else ""
        return message.rstrip(".") + (more or did_you_mean(command[1], known))
    option = re.fullmatch(r"(No such option: (--[\w-]+)).*", message)
    if option is None or context is None:
        return message
    name = option[2].removeprefix("--").replace("-", "_")
    own = word_here(name, [parameter.name for parameter in context.command.params])
    setting = word_here(name, None) if context.command.name == "train" else None
    if own is not None:
        here = f"which is `--{own.replace('_', '-')}` here"
    elif setting is not None:
        here = f"which is `--set {setting}=...` here"
    else:
        here = keyword_here(name, ())
    return f"{option[1]}, {here}" if here else message
