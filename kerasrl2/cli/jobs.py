"""Trials of `kerasrl2 tune` as processes, whose reports arrive in one queue."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading


class Jobs:
    """Processes that run `kerasrl2.cli.trial`, each with a handle of the caller's.

    A process for each trial, since TensorFlow keeps what it compiled: memory stays that
    of one trial, and one that crashes takes no other with it.
    """

    def __init__(self):
        self._running = {}  # handle to process
        self._messages = queue.Queue()

    def __len__(self):
        return len(self._running)

    @property
    def handles(self):
        """List of those whose processes run."""
        return list(self._running)

    def start(self, handle, config):
        """Starts a process.

        Args:
            handle: Anything hashable, which comes back with the messages.
            config: Dictionary for JSON, see `trial`.
        """
        errors = tempfile.TemporaryFile()  # noqa: SIM115  (`_read` closes it)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kerasrl2.cli.trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is the parent's to answer
        )
        self._running[handle] = process
        with contextlib.suppress(BrokenPipeError):  # it died: `_read` tells
            process.stdin.write(json.dumps(config) + "\n")
            process.stdin.flush()
        arguments = handle, process, errors
        threading.Thread(target=self._read, args=arguments, daemon=True).start()

    def next(self, timeout):
        """`(handle, message)`, or None if nothing was said in so many seconds.

        The last message of a process has a `value` alone, `diverged` or `error`; the
        process has ended by then.
        """
        try:
            handle, message = self._messages.get(timeout=timeout)
        except queue.Empty:
            return None
        if handle not in self._running:  # it was stopped meanwhile
            return self.next(0.0) if not self._messages.empty() else None
        if "part" not in message:
            self.stop(handle)
        return handle, message

    def stop(self, handle):
        """Kills a process, with those that it started."""
        process = self._running.pop(handle)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()

    def stop_all(self):
        """Kills all that run."""
        for handle in self.handles:
            self.stop(handle)

    def _read(self, handle, process, errors):
        ended = False
        with process.stdout, errors:
            for line in process.stdout:
                message = json.loads(line)
                ended = "part" not in message
                self._messages.put((handle, message))
            if not ended:
                code = process.wait()
                errors.seek(0)
                last = errors.read().decode(errors="replace").strip()[-300:]
                self._messages.put((handle, {"error": crash(code, last)}))


def crash(code, last=""):
    """How a process ended that did not say so itself.

    Args:
        code: Integer, what `Popen.returncode` is.
        last: String, the end of what it said.

    Example:
    >>> crash(-9)
    'its process ended with signal 9, perhaps for want of memory: fewer `--jobs`'
    """
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    if code == -getattr(signal, "SIGKILL", 9):
        how += ", perhaps for want of memory: fewer `--jobs`"
    return f"its process ended with {how}" + (f": {last}" if last else "")
