"""Imports TensorFlow without its start-up messages.

Its native code writes to the error stream while it loads, before any log level
applies, and again when XLA compiles for the first time.
"""

import contextlib
import os
import sys
import tempfile
import threading

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class _PythonStream:
    """Replaces `sys.stderr` while descriptor 2 is redirected to a file.

    It stays usable afterwards, for instance by a `logging` handler that was made
    meanwhile (TensorFlow's is): writes go to wherever Python's error stream goes then.
    """

    def write(self, text):
        with _redirection.lock:  # another thread might close the stream
            return self._stream().write(text)

    def flush(self):
        with _redirection.lock:
            self._stream().flush()

    def __getattr__(self, name):
        return getattr(self._stream(), name)

    @staticmethod
    def _stream():
        return _redirection.outside or sys.__stderr__


class _Redirection:
    """Redirects descriptor 2 to a file while any thread is inside.

    A process has one descriptor 2, but its threads compile at any time: the first to
    enter redirects it, the last to leave restores it.

    Attributes:
        lock: Held while descriptor 2 is switched, not while code runs inside.
        outside: Text stream to the original descriptor 2; None if not redirected.
    """

    def __init__(self):
        self.outside = None
        self.lock = threading.RLock()
        self._inside, self._shown = 0, []

    def enter(self):
        """Number of bytes captured so far, or None without an error stream."""
        with self.lock:
            if self.outside is None:
                try:
                    self._redirect()
                except (AttributeError, OSError, ValueError):
                    return None
            self._inside += 1
            return os.fstat(self._file.fileno()).st_size

    def leave(self):
        with self.lock:
            self._inside -= 1
            if not self._inside:
                self._restore()

    def show(self, begin):
        """Writes out what was captured from byte `begin` on, nothing twice."""
        with self.lock, contextlib.suppress(OSError, ValueError):
            end = os.fstat(self._file.fileno()).st_size
            position = begin
            for start, stop in [*sorted(self._shown), (end, end)]:
                self._write(position, start)
                position = max(position, stop)
            self._shown.append((begin, end))

    def _write(self, start, stop):
        if start < stop:
            self._file.seek(start)
            self.outside.flush()
            self.outside.buffer.write(self._file.read(stop - start))
            self.outside.buffer.flush()

    def _redirect(self):
        python = sys.__stderr__
        sys.stderr.flush()
        with contextlib.ExitStack() as undo:
            # Append mode: reading does not move the position others write at.
            file = undo.enter_context(tempfile.TemporaryFile("a+b", buffering=0))
            saved = os.dup(2)
            undo.callback(os.close, saved)
            outside = undo.enter_context(
                open(saved, "w", 1, python.encoding, "backslashreplace", closefd=False)
            )
            os.dup2(file.fileno(), 2)
            self._undo = undo.pop_all()
        self._file, self.outside, self._shown = file, outside, []
        if sys.stderr is python:
            sys.stderr = _python_stream

    def _restore(self):
        outside, self.outside = self.outside, None
        if sys.stderr is _python_stream:  # else other code has replaced it
            sys.stderr = sys.__stderr__
        with contextlib.suppress(OSError, ValueError), self._undo:
            try:
                outside.flush()
            finally:
                os.dup2(outside.fileno(), 2)


_redirection, _python_stream = _Redirection(), _PythonStream()


@contextlib.contextmanager
def native_chatter_kept_back(explained=()):
    """Suppresses what native code writes to the error stream, unless the block fails.

    What Python writes to `sys.stderr` is not affected. Blocks may be nested, and
    several threads may enter in any order: descriptor 2 is restored when the last one
    leaves. If a block fails, all that was captured since it began is written out, also
    from other threads; an interrupt is no failure.

    Args:
        explained: Tuple of exception classes whose messages say all: where one of
            these is raised nothing is written out.
    """
    begin = _redirection.enter()
    try:
        yield
    except Exception as error:
        if begin is not None and not isinstance(error, explained):
            _redirection.show(begin)
        raise
    finally:
        if begin is not None:
            _redirection.leave()


with native_chatter_kept_back():
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for GPUs, noisily where there is none
