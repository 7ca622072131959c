"""Threads that work off a common number of iterations."""

import threading

from kerasrl2.errors import EnvironmentFailure, NonFiniteError


class Tickets:
    """Iterations that several threads may begin; all counters are under one lock.

    Args:
        iterations: Integer, how many.
        env_steps: Integer, env steps played before.
        until: Integer or None. None begins once that many env steps have been played or
            are being played.
        size: Integer, largest number of env steps of an iteration.

    Attributes:
        played: Integer, env steps so far, with those of before.
        unhealthy: The worker that was first to report a NaN or infinity, or None.
    """

    def __init__(self, iterations, env_steps, until, size):
        self._mutex, self._left, self._under_way = threading.Lock(), iterations, 0
        self._until, self._size = until, size
        self.played, self.unhealthy = env_steps, None

    def take(self):
        """Env steps so far if an iteration may begin, else None."""
        with self._mutex:
            begun = self.played + self._under_way
            if self._left <= 0 or (self._until is not None and begun >= self._until):
                return None
            self._left -= 1
            self._under_way += self._size
            return self.played

    def give_back(self, env_steps):
        """Tells how many env steps an iteration has played."""
        with self._mutex:
            self._under_way -= self._size
            self.played += env_steps

    def note(self, worker, before, healthy):
        """Ends everything after a report; the first to see one is who made it."""
        if healthy:
            return
        with self._mutex:
            self._left = 0
            if self.unhealthy is None or before:
                self.unhealthy = worker

    def stop(self):
        """No further iteration begins."""
        with self._mutex:
            self._left = 0


def run_threads(functions, stop):
    """Calls each function in a thread of its own; returns when all have ended.

    Args:
        functions: List of callables without arguments.
        stop: Callable that asks all of them to end soon: called when one fails, and
            when the thread that waits here is interrupted.

    Raises:
        BaseException: What the first of them that failed raised, with the number of the
            function, chained; see `of_worker`.
    """
    failures, started = [], []
    # Not `Thread.join`: a thread counts as ended once an interrupt has ended a `join`.
    ended = [threading.Event() for _ in functions]

    def call(index, function):
        try:
            function()
        except BaseException as error:
            failures.append((index, error))
            stop()
        finally:
            ended[index].set()

    try:
        for index, function in enumerate(functions):
            thread = threading.Thread(
                target=call, args=(index, function), name=f"worker-{index}", daemon=True
            )
            thread.start()
            started.append(thread)
        for event in ended:
            event.wait()
    except BaseException:  # Ctrl-C, a second time: the first is held back
        stop()
        for index in range(len(started)):
            ended[index].wait()
        raise
    finally:
        for thread, event in zip(started, ended, strict=False):
            if event.is_set():
                thread.join()
    if failures:
        index, error = failures[0]
        if not isinstance(error, Exception):  # an interrupt, from an environment
            raise error
        failure = of_worker(error, index, len(functions))
        raise failure from (failure.__cause__ or error)


def of_worker(error, index, count):
    """The same error with the worker in its message.

    An `EnvironmentFailure` keeps its cause, the exception of the environment.
    """
    which = (
        f"In worker {index} of {count}, counted from 0" if count > 1 else "In worker 0"
    )
    if isinstance(error, EnvironmentFailure):
        at = error.index, error.step, error.action
        failure = EnvironmentFailure(f"{which}: {error}", *at)
        failure.__cause__ = error.__cause__
        return failure
    if isinstance(error, NonFiniteError):
        return NonFiniteError(f"{which}: {error}")
    return RuntimeError(f"{which}: {type(error).__name__}: {error}")
