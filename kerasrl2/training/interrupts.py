"""Ctrl-C and SIGTERM: deferred within a block of training, heard while XLA compiles."""

import contextlib
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ASIDE, _LISTENS = "kerasrl2-aside", 0.1  # a thread's name; seconds

_holding = []  # all in the main thread: handlers can be installed nowhere else


def poll():
    """Raises a signal that is held back in this thread.

    For what takes long between two blocks of training, such as an evaluation.
    """
    if threading.current_thread() is threading.main_thread():
        for interrupts in _holding:
            if interrupts.received is not None:
                interrupts.raise_received()


def aside(function):
    """Calls `function` in a thread of its own, so that Ctrl-C is answered meanwhile.

    Python hears no signal within a call of native code, and XLA compiles for seconds.
    After an interrupt the thread goes on to its end, which the process waits for; see
    `busy`. Of threads other than the main one, which get no signals, it is called as
    it is.

    Args:
        function: Callable without arguments.

    Returns:
        What `function` returns.

    Raises:
        BaseException: What `function` raises, or the interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    done, outcome = threading.Event(), {}

    def call():
        try:
            outcome["result"] = function()
        except BaseException as error:
            outcome["error"] = error
        finally:
            done.set()

    threading.Thread(target=call, name=_ASIDE).start()
    while not done.wait(_LISTENS):
        poll()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def busy():
    """Whether what `aside` called has outlived an interrupt."""
    return any(thread.name == _ASIDE for thread in threading.enumerate())


class Interrupts:
    """Defers signals until the training loop raises them.

    An interrupt within a block would leave its results incomplete, and one within
    TensorFlow's tracing makes native code fail. A second signal is not deferred. Does
    nothing outside the main thread, where Python allows no handlers.

    Args:
        tell: Callable without arguments or None, called once a signal is deferred, by
            which the user sees that it was heard.

    Attributes:
        received: Integer, the number of the signal that is held back, or None.
    """

    def __init__(self, tell=None):
        self.received, self.tell = None, tell
        self._before = {}

    def __enter__(self):
        with contextlib.suppress(ValueError):  # not the main thread
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._defer)
            _holding.append(self)
        return self

    def __exit__(self, *_):
        if self in _holding:
            _holding.remove(self)
        for number, handler in self._before.items():
            # None: the handler was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _defer(self, number, frame):
        if self.received is not None:
            _raise(number)
        self.received = number
        if self.tell is not None:
            self.tell()

    def raise_received(self):
        """Raises the deferred signal: `KeyboardInterrupt`, for SIGTERM `SystemExit`."""
        _raise(self.received)


def _raise(number):
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
