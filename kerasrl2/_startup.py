"""Imports TensorFlow without its start-up chatter.

Its native code writes a few lines to the error stream while it loads, before any log
level applies. They are kept back; if the import fails they are shown.
"""

import contextlib
import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextlib.contextmanager
def _native_stderr_kept_back():
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no error stream to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            kept.seek(0)
            os.write(2, kept.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


if "tensorflow" not in sys.modules:
    with _native_stderr_kept_back():
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs, noisily where there is none
