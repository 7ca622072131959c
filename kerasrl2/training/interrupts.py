"""Defers Ctrl-C and SIGTERM to the end of a block of training."""

import contextlib
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


_holding = []  # all in the main thread: handlers can be installed nowhere else


def poll():
    """Raises a signal that is held back in this thread.

    For what takes long between two blocks of training, such as an evaluation.
    """
    if threading.current_thread() is threading.main_thread():
        for interrupts in _holding:
            if interrupts.received is not None:
                interrupts.raise_received()


class Interrupts:
    """Defers signals until the training loop raises them.

    An interrupt within a block would leave its results incomplete. A second signal is
    not deferred. Does nothing outside the main thread, where Python allows no handlers.
    """

    def __init__(self):
        self.received = None
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

    def raise_received(self):
        """Raises the deferred signal: `KeyboardInterrupt`, for SIGTERM `SystemExit`."""
        _raise(self.received)


def _raise(number):
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
