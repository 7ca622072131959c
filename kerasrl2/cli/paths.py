"""Whether something can be written at a path, found out before any work is done."""

import contextlib
import tempfile
from pathlib import Path


def check_directory(name, path):
    """Raises `ValueError` unless a directory is there or can be made, and written.

    Nothing is left behind.

    Args:
        name: String, the argument's name in the message.
        path: Path.
    """
    path, made = Path(path), []
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(0, "it is a file")
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for directory in reversed(missing):
            directory.mkdir()
            made.insert(0, directory)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _refused(name, "directory", path, error.strerror or error) from None
    finally:
        for directory in made:
            with contextlib.suppress(OSError):  # another process uses it by now
                directory.rmdir()


def check_file(name, path):
    """Raises `ValueError` unless a file can be written; nothing is.

    Args:
        name: String, the argument's name in the message.
        path: Path.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        if not path.parent.exists():
            raise FileNotFoundError(0, f"there is no directory {path.parent}")
        if path.exists():
            with path.open("ab"):
                pass
        else:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise _refused(name, "file", path, error.strerror or error) from None


def _refused(name, kind, path, reason):
    return ValueError(
        f"Expected `{name}` as a {kind} that can be written. Received: {path} "
        f"({reason}). Choose another."
    )
