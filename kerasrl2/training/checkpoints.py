"""Checkpoints on disk: written aside, renamed, verified before they are read."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2.errors import CheckpointError

_PREFIX, _TABLE, _WRITING = "checkpoint-", "variables", ".writing-"
_MANIFEST, _FORMAT = "manifest.json", 1
_NAME = re.compile(rf"{_PREFIX}(\d{{12,}})")
_LIMIT = 64 * 2**20  # bytes of a manifest


class Checkpoint(NamedTuple):
    """A checkpoint that was found undamaged.

    Attributes:
        path: `Path` of its directory.
        manifest: Dictionary, what `CheckpointStore.write` was given.
        variables: Dictionary of names to `[shape, dtype]`.
    """

    path: Any
    manifest: Any
    variables: Any


class CheckpointStore:
    """The newest checkpoints of a run in one directory.

    A checkpoint is a directory `checkpoint-<env steps>` with the files of a
    `tf.train.Checkpoint` and `manifest.json`: their digests, names, shapes and dtypes
    of all variables, and what else the run knows. It is written under another name and
    renamed when it is complete and on disk, so a process killed at any moment leaves
    whole checkpoints behind. None of the files can run code.

    Args:
        directory: String or path; made if it is missing.
        keep: Integer >= 1, how many to keep; older ones are deleted.

    Attributes:
        reports: List of dictionaries, one a checkpoint written: `path`, `bytes`,
            `blocked` (seconds training waited for it) and `seconds` (until it was on
            disk).
    """

    def __init__(self, directory, keep=3):
        check_positive_integer("keep", keep)
        self.directory, self.keep = Path(directory), keep
        self.reports = []
        self._thread = self._error = None
        self._saver = None

    def write(self, env_steps, variables, manifest):
        """Starts to write a checkpoint; returns once the variables may change again.

        Args:
            env_steps: Integer, names the checkpoint.
            variables: Dictionary of names to `tf.Variable`.
            manifest: Dictionary that JSON can hold, arrays and NumPy numbers included.

        Raises:
            TypeError: JSON cannot hold the manifest.
            CheckpointError: This one could not be begun, or the one before could not
                be finished. What was on disk before is intact.
        """
        started = time.perf_counter()
        text = json.dumps(  # now: training goes on and changes what is in it
            {
                "format": _FORMAT,
                **manifest,
                "env_steps": env_steps,
                "variables": {
                    name: [variable.shape.as_list(), variable.dtype.name]
                    for name, variable in variables.items()
                },
            },
            default=_plain,
        )
        self.wait()
        final = self.directory / f"{_PREFIX}{env_steps:012d}"
        aside = self.directory / f"{_WRITING}{final.name}"
        with self._explained(final):
            self.directory.mkdir(parents=True, exist_ok=True)
            for left in self.directory.glob(f"{_WRITING}*"):  # by a killed process
                shutil.rmtree(left)
            aside.mkdir()
            _check_room(self.directory, variables)
            saver = self._saver_of(list(variables.values()))
            # TensorFlow copies what changes before it is written.
            options = tf.train.CheckpointOptions(enable_async=True)
            saver.write(str(aside / _TABLE), options=options)
        report = {"path": final, "blocked": time.perf_counter() - started}

        def finish():
            try:
                with self._explained(final):
                    saver.sync()
                    report["bytes"] = _seal(aside, text)
                    _put(aside, final)
                    self._prune()
            except CheckpointError as error:
                self._error = error
            report["seconds"] = time.perf_counter() - started
            self.reports.append(report)

        self._thread = threading.Thread(target=finish, name="checkpoint")
        self._thread.start()

    def wait(self):
        """Waits until what was begun is on disk; raises what went wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def paths(self):
        """List of the checkpoints' directories, newest first.

        Others whose names only begin alike are none of them, and never deleted.
        """
        found = self.directory.glob(f"{_PREFIX}*")
        found = [(_NAME.fullmatch(path.name), path) for path in found]
        numbered = [(int(match[1]), path) for match, path in found if match]
        return [path for _, path in sorted(numbered, reverse=True)]

    def find(self):
        """The newest undamaged `Checkpoint`, or None if there is none at all.

        Warns of each damaged one that is newer.

        Raises:
            CheckpointError: There are checkpoints, and all are damaged; or a newer
                kerasrl2 wrote one that no undamaged one is newer than.
        """
        damaged = []
        for path in self.paths():
            try:
                found = _verified(path)
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                damaged.append(f"{path} ({error})")
                continue
            for text in damaged:
                warnings.warn(
                    f"Damaged checkpoint: {text}. The one before is used: {path}.",
                    stacklevel=3,
                )
            return found
        if damaged:
            raise CheckpointError(
                "Expected at least one undamaged checkpoint. Received: "
                f"{'; '.join(damaged)}. Start anew in another directory."
            )
        return None

    def restore(self, checkpoint, variables, optional=()):
        """Reads a checkpoint into variables, all of them or none.

        Args:
            checkpoint: `Checkpoint`.
            variables: Dictionary of names to `tf.Variable`, as for `write`.
            optional: Rooms (first parts of names) the checkpoint may do without.

        Raises:
            CheckpointError: Names, shapes or dtypes are not those of the checkpoint, or
                it cannot be read.
        """
        stored = checkpoint.variables
        rooms = {name.partition("/")[0] for name in stored}
        missing = set(optional) - rooms
        variables = {
            name: variable
            for name, variable in variables.items()
            if name.partition("/")[0] not in missing
        }
        _check_same(checkpoint.path, stored, variables)
        reader = tf.train.Checkpoint(variables=[variables[name] for name in stored])
        reader.save_counter  # noqa: B018  (makes it: what TensorFlow wrote has one)
        try:
            reader.read(str(checkpoint.path / _TABLE)).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise CheckpointError(
                f"Expected to read {checkpoint.path}. Received: {error}"
            ) from error

    def _saver_of(self, variables):
        """A `tf.train.Checkpoint`; each has a thread, so the same ones share one."""
        ids = [id(variable) for variable in variables]
        if self._saver is None or self._saver[0] != ids:
            self._saver = ids, tf.train.Checkpoint(variables=variables)
        return self._saver[1]

    def _prune(self):
        for path in self.paths()[self.keep :]:
            shutil.rmtree(path)

    @contextlib.contextmanager
    def _explained(self, path):
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            for left in self.directory.glob(f"{_WRITING}*"):
                shutil.rmtree(left, ignore_errors=True)
            raise CheckpointError(
                f"Expected to write {path}. Received: {type(error).__name__}: {error}. "
                "Earlier checkpoints and the agent in memory are intact. Make room, or "
                "choose another directory."
            ) from error


def _check_room(directory, variables):
    """Raises `OSError` before TensorFlow begins what the disk cannot hold."""
    needed = sum(v.dtype.size * v.shape.num_elements() for v in variables.values())
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise OSError(f"{needed:,} bytes are needed, {free:,} are free")


def _plain(value):
    """A NumPy number or array as JSON holds it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(
        "Expected what JSON can hold in logs and in the states of callbacks. "
        f"Received: {value!r}"
    )


def _seal(directory, text):
    """Adds digests and the manifest, sees all of it to the disk; returns bytes."""
    files = {}
    for path in sorted(directory.iterdir()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.name] = [path.stat().st_size, digest]
        _sync(path)
    text = json.dumps({**json.loads(text), "files": files})
    digest = hashlib.sha256(text.encode()).hexdigest()
    (directory / _MANIFEST).write_text(f"{digest}\n{text}\n")
    _sync(directory / _MANIFEST)
    _sync(directory)
    return sum(size for size, _ in files.values()) + len(text)


def _put(aside, final):
    """Gives a checkpoint its name; one of the same name goes."""
    if final.exists():
        old = final.with_name(f"{_WRITING}old-{final.name}")
        final.rename(old)
        aside.rename(final)
        shutil.rmtree(old)
    else:
        aside.rename(final)
    _sync(final.parent)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _verified(path):
    """A `Checkpoint` whose files are the ones that were written."""
    manifest = path / _MANIFEST
    if manifest.stat().st_size > _LIMIT:
        raise ValueError(f"{_MANIFEST} is larger than {_LIMIT:,} bytes")
    digest, _, text = manifest.read_text("utf-8").partition("\n")
    text = text.removesuffix("\n")
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ValueError(f"{_MANIFEST} is not what was written")
    content = json.loads(text)
    written = content["format"]
    if type(written) is int and written > _FORMAT:
        raise CheckpointError(
            f"Expected a checkpoint of format {_FORMAT} or earlier. Received: {path} "
            f"of format {written}, written by a newer kerasrl2. Upgrade kerasrl2, or "
            "begin in another directory; the run is as it was."
        )
    if written != _FORMAT:
        raise ValueError(f"format {written}, expected {_FORMAT}")
    for name, (size, digest) in content["files"].items():
        file = path / Path(name).name
        if file.stat().st_size != size:
            raise ValueError(f"{name} has {file.stat().st_size} bytes, not {size}")
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                raise ValueError(f"{name} is not what was written")
    variables = content.pop("variables")
    return Checkpoint(path, content, variables)


def _check_same(path, stored, variables):
    present = {n: [v.shape.as_list(), v.dtype.name] for n, v in variables.items()}
    differences = [
        f"{name}: {_show(stored.get(name))} in the checkpoint, "
        f"{_show(present.get(name))} now"
        for name in sorted({*stored, *present})
        if stored.get(name) != present.get(name)
    ]
    if differences:
        shown = "; ".join(differences[:5])
        more = f"; {len(differences) - 5} more" if len(differences) > 5 else ""
        raise CheckpointError(
            "Expected the network, optimizer, buffer and number of environments that "
            f"{path} was written with. Received others: {shown}{more}."
        )


def _show(entry):
    return "nothing" if entry is None else f"{entry[1]}{entry[0]}"
