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


_kept_back = threading.Lock()  # the error stream is the whole process's


@contextlib.contextmanager
def native_chatter_kept_back():
    """Keeps back what native code writes to the error stream, unless it fails.

    What Python writes to `sys.stderr` goes out as ever. Does nothing while another
    thread, or a caller, does it already.
    """
    if not _kept_back.acquire(blocking=False):
        yield
        return
    try:
        with _kept_back_here():
            yield
    finally:
        _kept_back.release()


@contextlib.contextmanager
def _kept_back_here():
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no error stream to keep quiet
        yield
        return
    stream = sys.stderr
    with tempfile.TemporaryFile() as kept, os.fdopen(saved, "w") as outside:
        if stream is sys.__stderr__:
            sys.stderr = outside
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(saved, kept.read())
            raise
        finally:
            outside.flush()
            os.dup2(saved, 2)
            sys.stderr = stream


with native_chatter_kept_back():
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for GPUs, noisily where there is none
