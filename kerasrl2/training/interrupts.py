"""Defers Ctrl-C and SIGTERM to the end of a block of training."""

import contextlib
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
        return self

    def __exit__(self, *_):
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
