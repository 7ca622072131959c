"""Imports TensorFlow without its start-up chatter.

Its native code writes a few lines to the error stream while it loads, before any log
level applies, and more when XLA compiles for the first time.
"""

import contextlib
import os
import sys
import tempfile
import threading

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class _PythonStream:
    """Stands for `sys.stderr` while descriptor 2 leads into a file.

    Who keeps it (a handler of `logging` made meanwhile, such as TensorFlow's) can write
    to it for ever: what it gets goes where Python's error stream goes at that time.
    """

    def write(self, text):
        with _keeper.lock:  # or another thread closes the stream at this moment
            return self._stream().write(text)

    def flush(self):
        with _keeper.lock:
            self._stream().flush()

    def __getattr__(self, name):
        return getattr(self._stream(), name)

    @staticmethod
    def _stream():
        return _keeper.outside or sys.__stderr__


class _Keeper:
    """Leads descriptor 2 into a file while anyone is inside.

    A process has one descriptor 2, its threads compile when they like: the first puts
    it aside and only the last puts it back.

    Attributes:
        lock: Held while descriptor 2 is led elsewhere, not while code runs inside.
        outside: Text stream to where descriptor 2 led before, or None if it is there.
    """

    def __init__(self):
        self.outside = None
        self.lock = threading.RLock()
        self._inside, self._shown = 0, []

    def enter(self):
        """The number of bytes kept so far, or None without an error stream."""
        with self.lock:
            if self.outside is None:
                try:
                    self._put_aside()
                except (AttributeError, OSError, ValueError):
                    return None
            self._inside += 1
            return os.fstat(self._kept.fileno()).st_size

    def leave(self):
        with self.lock:
            self._inside -= 1
            if not self._inside:
                self._put_back()

    def show(self, begin):
        """Writes out what was kept from byte `begin` on, and nothing twice."""
        with self.lock, contextlib.suppress(OSError, ValueError):
            end = os.fstat(self._kept.fileno()).st_size
            position = begin
            for start, stop in [*sorted(self._shown), (end, end)]:
                self._write(position, start)
                position = max(position, stop)
            self._shown.append((begin, end))

    def _write(self, start, stop):
        if start < stop:
            self._kept.seek(start)
            self.outside.flush()
            self.outside.buffer.write(self._kept.read(stop - start))
            self.outside.buffer.flush()

    def _put_aside(self):
        python = sys.__stderr__
        sys.stderr.flush()
        with contextlib.ExitStack() as undo:
            # For appending: reading what is kept moves no position others write at.
            kept = undo.enter_context(tempfile.TemporaryFile("a+b", buffering=0))
            saved = os.dup(2)
            undo.callback(os.close, saved)
            outside = undo.enter_context(
                open(saved, "w", 1, python.encoding, "backslashreplace", closefd=False)
            )
            os.dup2(kept.fileno(), 2)
            self._undo = undo.pop_all()
        self._kept, self.outside, self._shown = kept, outside, []
        if sys.stderr is python:
            sys.stderr = _python_stream

    def _put_back(self):
        outside, self.outside = self.outside, None
        if sys.stderr is _python_stream:  # else somebody else has replaced it
            sys.stderr = sys.__stderr__
        with contextlib.suppress(OSError, ValueError), self._undo:
            try:
                outside.flush()
            finally:
                os.dup2(outside.fileno(), 2)


_keeper, _python_stream = _Keeper(), _PythonStream()


@contextlib.contextmanager
def native_chatter_kept_back():
    """Keeps back what native code writes to the error stream, unless it fails.

    What Python writes to `sys.stderr` goes out as ever. May be entered again inside of
    itself, and by several threads in any order: descriptor 2 is back where it was when
    the last has left. What was kept since a block that fails began is written out, what
    the native code of other threads wrote meanwhile included.
    """
    begin = _keeper.enter()
    try:
        yield
    except BaseException:
        if begin is not None:
            _keeper.show(begin)
        raise
    finally:
        if begin is not None:
            _keeper.leave()


with native_chatter_kept_back():
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for GPUs, noisily where there is none
