"""Process-wide settings of the command line; the library never touches these."""

import hashlib
import os
import platform
from pathlib import Path


def use_compilation_cache():
    """Caches XLA's compiled programs on disk; must run before TensorFlow is imported.

    A second run of the same kind then starts about two seconds sooner. The directory
    depends on the processor and on TensorFlow's version, since it holds machine code.
    `KERASRL2_CACHE` names another directory; an empty value turns the cache off.
    """
    root = os.environ.get("KERASRL2_CACHE")
    if root == "":
        return
    if root is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(base) / "kerasrl2"
    directory = Path(root) / f"xla-{_machine_key()}"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return  # not writable: compile each time
    if not os.access(directory, os.W_OK) or directory.stat().st_uid != os.getuid():
        return
    # Loading from the cache writes pages of harmless lines at level ERROR.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags = os.environ.get("TF_XLA_FLAGS", "")
    os.environ["TF_XLA_FLAGS"] = (
        f"{flags} --tf_xla_persistent_cache_directory={directory}".strip()
    )


def set_threads(threads):
    """Sets TensorFlow's thread pools; must run before its first operation.

    Operations of graphs without XLA, those of convolutional networks, also run
    concurrently. The pool for these has one thread more, since one waits while a game
    is played in Python. In alternating runs on two processors, DQN on Atari took 25 %
    more time with one and 8 % more with two threads than with three; PPO 8 % more with
    one.
    """
    import tensorflow as tf

    concurrent = threads + 1 if threads > 1 else 1
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(concurrent)


def threads_for(settings):
    """One thread for small dense networks, all processors for large ones and images.

    Measured: a second thread pays from products of 128 x 256 with 256 x 256 matrices on
    (rows times units squared is 2**23), but not with 128 units.

    Args:
        settings: Dictionary of the agent's keywords.
    """
    hidden = settings.get("hidden", (64, 64))
    hidden = hidden if isinstance(hidden, list | tuple) else ()
    widest = max((units for units in hidden if isinstance(units, int)), default=0)
    rows = settings.get("batch_size") or 256
    small_product = widest < 256 or rows * widest**2 < 2**23
    small = small_product and rows < 1024 and "encoder" not in settings
    return 1 if small else os.cpu_count() or 1


def _machine_key():
    from importlib.metadata import version

    words = [version("tensorflow"), platform.machine()]
    try:
        text = Path("/proc/cpuinfo").read_text()
        words += [
            line
            for line in text.split("\n\n")[0].splitlines()
            if line.startswith(("model name", "flags", "cpu family", "stepping"))
        ]
    except OSError:
        words.append(platform.processor())
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
