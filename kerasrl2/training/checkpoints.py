"""Checkpoints on disk: renamed when they are complete, verified before reading."""

import contextlib
import hashlib
import json
import os
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
_LIMIT = 64 * 2**20  # bytes of a manifest


class Checkpoint(NamedTuple):
    """A checkpoint that was verified to be undamaged.

    Attributes:
        path: `Path` of its directory.
        manifest: Dictionary that was passed to `CheckpointStore.write`.
        variables: Dictionary of names to `[shape, dtype]`.
    """

    path: Any
    manifest: Any
    variables: Any


class CheckpointStore:
    """A directory with the newest checkpoints of a run.

    A checkpoint is a directory `checkpoint-<env steps>` with the files of a
    `tf.train.Checkpoint` and `manifest.json`, which holds their digests, the names,
    shapes and dtypes of all variables, and the run's other data. It is written under
    another name and renamed when it is complete and on disk: a process that is killed
    at any moment leaves only complete checkpoints. None of the files can run code.

    Args:
        directory: String or path; created if it does not exist.
        keep: Integer >= 1, number of checkpoints to keep; older ones are deleted.

    Attributes:
        reports: List of dictionaries, one per checkpoint written: `path`, `bytes`,
            `blocked` (seconds that training waited) and `seconds` (until it was on
            disk).
    """

    def __init__(self, directory, keep=3):
        check_positive_integer("keep", keep)
        self.directory, self.keep = Path(directory), keep
        self.reports = []
        self._thread = self._error = None
        self._saver = None

    def write(self, env_steps, variables, manifest):
        """Starts writing a checkpoint; returns when the variables may change again.

        Args:
            env_steps: Integer, names the checkpoint.
            variables: Dictionary of names to `tf.Variable`.
            manifest: JSON-serializable dictionary; may hold NumPy arrays and numbers.

        Raises:
            TypeError: The manifest is not JSON-serializable.
            CheckpointError: Writing it, or finishing the one before, failed. Earlier
                checkpoints are intact.
        """
        started = time.perf_counter()
        text = json.dumps(  # at once: training will change its contents
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
        temporary = self.directory / f"{_WRITING}{final.name}"
        with self._explained(final):
            self.directory.mkdir(parents=True, exist_ok=True)
            for path in self.directory.glob(f"{_WRITING}*"):  # of a killed process
                shutil.rmtree(path)
            temporary.mkdir()
            _check_room(self.directory, variables)
            saver = self._saver_of(list(variables.values()))
            # Asynchronous: TensorFlow copies the variables before it returns.
            options = tf.train.CheckpointOptions(enable_async=True)
            saver.write(str(temporary / _TABLE), options=options)
        report = {"path": final, "blocked": time.perf_counter() - started}

        def finish():
            try:
                with self._explained(final):
                    saver.sync()
                    report["bytes"] = _seal(temporary, text)
                    _rename(temporary, final)
                    self._prune()
            except CheckpointError as error:
                self._error = error
            report["seconds"] = time.perf_counter() - started
            self.reports.append(report)

        self._thread = threading.Thread(target=finish, name="checkpoint")
        self._thread.start()

    def wait(self):
        """Waits until the last checkpoint is on disk; raises its error, if any."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def paths(self):
        """List of the checkpoints' directories, newest first."""
        return sorted(self.directory.glob(f"{_PREFIX}*"), reverse=True)

    def find(self):
        """The newest undamaged `Checkpoint`, or None if there are no checkpoints.

        Warns of each newer one that is damaged.

        Raises:
            CheckpointError: All checkpoints are damaged.
        """
        damaged = []
        for path in self.paths():
            try:
                checkpoint = _verified(path)
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                damaged.append(f"{path} ({error})")
                continue
            for text in damaged:
                warnings.warn(
                    f"Damaged checkpoint: {text}. The one before is used: {path}.",
                    stacklevel=3,
                )
            return checkpoint
        if damaged:
            raise CheckpointError(
                "Expected at least one undamaged checkpoint. Received: "
                f"{'; '.join(damaged)}. Start a new run in another directory."
            )
        return None

    def restore(self, checkpoint, variables, optional=()):
        """Reads a checkpoint into variables, either all of them or none.

        Args:
            checkpoint: `Checkpoint`.
            variables: Dictionary of names to `tf.Variable`, as for `write`.
            optional: First parts of names (`"buffer"` of `"buffer/..."`), of which the
                checkpoint may have no variables.

        Raises:
            CheckpointError: Names, shapes or dtypes are not those of the checkpoint, or
                it cannot be read.
        """
        stored = checkpoint.variables
        missing = set(optional) - {name.partition("/")[0] for name in stored}
        variables = {
            name: variable
            for name, variable in variables.items()
            if name.partition("/")[0] not in missing
        }
        _check_same(checkpoint.path, stored, variables)
        reader = tf.train.Checkpoint(variables=[variables[name] for name in stored])
        reader.save_counter  # noqa: B018  (creates it: files of TensorFlow have one)
        try:
            reader.read(str(checkpoint.path / _TABLE)).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise CheckpointError(
                f"Expected to read {checkpoint.path}. Received: {error}"
            ) from error

    def _saver_of(self, variables):
        """A `tf.train.Checkpoint`, reused for equal variables: each starts a thread."""
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
            for temporary in self.directory.glob(f"{_WRITING}*"):
                shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(
                f"Expected to write {path}. Received: {type(error).__name__}: {error}. "
                "Earlier checkpoints and the agent in memory are intact. Make room, or "
                "choose another directory."
            ) from error


def _check_room(directory, variables):
    """Raises `OSError` if the variables do not fit on the disk."""
    needed = sum(v.dtype.size * v.shape.num_elements() for v in variables.values())
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise OSError(f"{needed:,} bytes are needed, {free:,} are free")


def _plain(value):
    """A NumPy number or array as Python numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(
        f"Expected JSON-serializable logs and states of callbacks. Received: {value!r}"
    )


def _seal(directory, text):
    """Adds the manifest with digests and syncs all files to disk; returns bytes."""
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


def _rename(temporary, final):
    """Gives a checkpoint its final name, in place of one with the same name."""
    if final.exists():
        old = final.with_name(f"{_WRITING}old-{final.name}")
        final.rename(old)
        temporary.rename(final)
        shutil.rmtree(old)
    else:
        temporary.rename(final)
    _sync(final.parent)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _verified(path):
    """The `Checkpoint` at a path, its files verified by size and digest."""
    manifest = path / _MANIFEST
    if manifest.stat().st_size > _LIMIT:
        raise ValueError(f"{_MANIFEST} is larger than {_LIMIT:,} bytes")
    digest, _, text = manifest.read_text("utf-8").partition("\n")
    text = text.removesuffix("\n")
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ValueError(f"{_MANIFEST} is not what was written")
    content = json.loads(text)
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']}, expected {_FORMAT}")
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
