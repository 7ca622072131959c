"""Ctrl-C and SIGTERM between two blocks of training instead of within one."""

import contextlib
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Holds signals back until the training loop asks for them.

    A signal that arrives while a block runs would leave its results half taken over. A
    second one is not held back. Does nothing outside the main thread, where Python
    allows no handlers.
    """

    def __init__(self):
        self.received = None
        self._before = {}

    def __enter__(self):
        with contextlib.suppress(ValueError):  # not the main thread
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._hold_back)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _hold_back(self, number, frame):
        if self.received is not None:
            _raise(number)
        self.received = number

    def raise_received(self):
        """Raises what was held back: `KeyboardInterrupt`, for SIGTERM `SystemExit`."""
        _raise(self.received)


def _raise(number):
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
