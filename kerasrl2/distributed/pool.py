"""Workers as Ray actors: requests in flight, fairness, replacement, errors."""

import time
import warnings
from typing import Any, NamedTuple

from kerasrl2.distributed import cluster
from kerasrl2.distributed.host import Failure, Host
from kerasrl2.distributed.sending import versions
from kerasrl2.errors import EnvironmentFailure
from kerasrl2.training.threads import of_worker

_FIRST = 3  # times the time limit, for the first answer
_GIVE_UP = 3  # workers of a slot that end before they have played anything
_TICK = 0.25  # seconds between looks at the clock
_FRESH = 5.0  # seconds until the cluster is asked again how large it is


class Reply(NamedTuple):
    """An answer.

    Attributes:
        slot: Integer, the worker.
        number: Integer, of the request.
        value: What the worker returned.
        seconds: Float, how long it worked on it.
    """

    slot: int
    number: int
    value: Any
    seconds: float


class _Request(NamedTuple):
    slot: int
    method: str
    arguments: tuple
    ref: Any


class Pool:
    """Workers, and the requests that they have not answered.

    A worker that ends, or does not answer in time, is replaced by a new one, which gets
    its unanswered requests: none is lost, and none is answered twice.

    Args:
        workers: `Workers`.
        order_of: Callable from a slot and a generation to an `Order`.
        on_replaced: Callable that is told the slot and the generation of a new worker.
    """

    def __init__(self, workers, order_of, on_replaced):
        self.workers, self._order_of = workers, order_of
        self._on_replaced = on_replaced
        self._ray = cluster.join(workers)
        self._open, self._ready = {}, []  # numbers to requests, in order; numbers
        self._store = -_FRESH, 0.0  # when its size was asked for; bytes
        count = workers.count
        self._actors, self._preparing = [None] * count, [None] * count
        self._since, self._answered = [0.0] * count, [False] * count
        self.generations, self._failed = [0] * count, [0] * count
        self.closed = False
        try:
            for slot in range(count):
                self._make(slot)
        except BaseException:
            self.close()
            raise

    # Workers

    def _make(self, slot):
        ray, workers = self._ray, self.workers
        order = _packed(ray, self._order_of(slot, self.generations[slot]))
        remote = ray.remote(num_cpus=workers.cpus, max_restarts=0)(Host)
        self._actors[slot] = remote.remote()
        self._preparing[slot] = self._actors[slot].prepare.remote(
            ray.cloudpickle.loads, order
        )
        self._since[slot], self._answered[slot] = time.monotonic(), False

    def wait_until_ready(self):
        """Returns once all workers have compiled what they play.

        Raises:
            ValueError: A worker could not be made, or has other versions of packages.
            EnvironmentFailure: An environment raised in its first `reset`.
        """
        for slot in range(self.workers.count):
            while self._preparing[slot] is not None:
                refs = [self._preparing[slot]]
                if self._ray.wait(refs, num_returns=1, timeout=_TICK)[0]:
                    self._check_prepared(slot)
                self._replace_silent()

    def _check_prepared(self, slot):
        """Takes the answer to `prepare`; whether there is a worker that can play."""
        if self._preparing[slot] is None:
            return True
        try:
            answer = self._ray.get(self._preparing[slot], timeout=1.0)
        except self._deaths() as error:
            self._replace(slot, error)
            return False
        self._preparing[slot] = None
        self._since[slot] = time.monotonic()
        found, node = self._checked(slot, answer.value)
        check_versions(slot, node, found)
        return True

    def _replace(self, slot, error=None):
        """A new worker in place of one that has ended or does not answer."""
        if not self._answered[slot]:
            self._failed[slot] += 1
        which = f"Worker {slot} of {self.workers.count}, counted from 0,"
        what = (
            f"has ended ({_first_line(error)})"
            if error is not None
            else (f"has not answered for {time.monotonic() - self._since[slot]:.0f} s")
        )
        if self._failed[slot] >= _GIVE_UP:
            raise RuntimeError(
                f"{which} {what}, as did {_GIVE_UP - 1} before it that have not "
                "answered once. It may need more memory, more time "
                "(`Workers(time_limit=...)`), or end by itself: play its environment "
                "in this process, `workers=None`."
            )
        warnings.warn(
            f"{which} {what}. A new one begins new episodes; those under way are not "
            "counted.",
            RuntimeWarning,
            stacklevel=2,
        )
        self._ray.kill(self._actors[slot], no_restart=True)
        self.generations[slot] += 1
        self._make(slot)
        self._on_replaced(slot, self.generations[slot])
        for number, request in self._open.items():
            if request.slot == slot:
                self._open[number] = self._sent(*request[:3], number)
        lost = {n for n, r in self._open.items() if r.slot == slot}
        self._ready = [number for number in self._ready if number not in lost]

    def _replace_silent(self):
        now = time.monotonic()
        waiting = {request.slot for request in self._open.values()}
        for slot in range(self.workers.count):
            if slot not in waiting and self._preparing[slot] is None:
                continue
            limit = self.workers.time_limit * (1 if self._answered[slot] else _FIRST)
            if now - self._since[slot] > limit:
                self._replace(slot)

    def _deaths(self):
        known = self._ray.exceptions
        return (
            known.RayActorError, known.ObjectLostError, known.WorkerCrashedError,
            known.OutOfMemoryError, known.NodeDiedError,
        )  # fmt: skip

    # Requests

    @property
    def num_open(self):
        """Integer, requests that have not been taken."""
        return len(self._open)

    def put(self, array):
        """Makes an array available to all workers; returns what to send them."""
        return self._ray.put(array)

    def store_bytes(self):
        """Float, bytes of Ray's object store on this cluster, of the last seconds.

        The learner needs it for each block, and asking takes a quarter of a millisecond
        where nobody else does.
        """
        asked_at, size = self._store
        if time.monotonic() - asked_at >= _FRESH:
            resources = self._ray.cluster_resources()
            size = resources.get("object_store_memory", float("inf"))
            self._store = time.monotonic(), size
        return size

    def submit(self, slot, number, method, *arguments):
        """Asks a worker for something; returns at once."""
        if not any(request.slot == slot for request in self._open.values()):
            self._since[slot] = max(self._since[slot], time.monotonic())
        self._open[number] = self._sent(slot, method, arguments, number)

    def _sent(self, slot, method, arguments, number):
        call = getattr(self._actors[slot], method).remote
        return _Request(slot, method, arguments, call(number, *arguments))

    def take(self, number=None):
        """The oldest answer there is, or that to a request; waits for it.

        Args:
            number: Integer, or None for any.

        Returns:
            `Reply`.

        Raises:
            EnvironmentFailure: The environment of a worker raised.
            RuntimeError: Something else failed in a worker.
        """
        while True:
            found = self._look(number)
            if found is None:
                self._replace_silent()
                continue
            request = self._open[found]
            try:
                prepared = self._check_prepared(request.slot)
                if not prepared:
                    continue
                answer = self._ray.get(request.ref, timeout=self.workers.time_limit)
            except self._deaths() as error:
                self._replace(request.slot, error)
                continue
            del self._open[found]
            value = self._checked(request.slot, answer.value)
            slot = request.slot
            self._since[slot], self._answered[slot] = time.monotonic(), True
            self._failed[slot] = 0
            return Reply(slot, found, value, answer.seconds)

    def _look(self, number):
        """The number of a request that has an answer, or None after a while."""
        wait = self._ray.wait
        if number is not None:
            ref = self._open[number].ref
            return number if wait([ref], num_returns=1, timeout=_TICK)[0] else None
        if not self._ready:
            refs = {request.ref: n for n, request in self._open.items()}
            # All that are there: the first alone would be that of one worker for ever.
            found, _ = wait(list(refs), num_returns=len(refs), timeout=0)
            if not found:
                found, _ = wait(list(refs), num_returns=1, timeout=_TICK)
            self._ready = sorted(refs[ref] for ref in found)
        return self._ready.pop(0) if self._ready else None

    def _checked(self, slot, value):
        if isinstance(value, Failure):
            raise failure_of(value, slot, self.workers.count)
        return value

    def close(self):
        """Ends all workers, and Ray if it was started for them."""
        if self.closed:
            return
        self.closed = True
        ray, self._open = self._ray, {}
        actors = [actor for actor in self._actors if actor is not None]
        if not ray.is_initialized():
            cluster.leave(ray)
            return
        refs = [actor.close.remote() for actor in actors]
        if refs:
            ray.wait(refs, num_returns=len(refs), timeout=1.0)
        for actor in actors:
            ray.kill(actor, no_restart=True)
        cluster.leave(ray)


def failure_of(failure, slot, count):
    """The exception for a `Failure` in a worker, with the worker in its message."""
    error = RuntimeError(failure.cause)
    if failure.kind == "environment":
        error = EnvironmentFailure(failure.message, *failure.at)
    named = of_worker(error, slot, count)
    if failure.kind == "argument":
        where = str(named).partition(": ")[0]
        named = ValueError(f"{where}: {failure.message}")
    elif failure.kind == "other":
        named = RuntimeError(str(named).replace("RuntimeError: ", "", 1))
    named.__cause__ = RuntimeError(f"in the worker's process:\n{failure.trace}")
    return named


def _packed(ray, order):
    try:
        return ray.cloudpickle.dumps(order)
    except Exception as error:
        raise ValueError(
            "Expected an environment that can be sent to workers: an id, or a callable "
            "that makes everything it needs when it is called there. Received: one "
            f"that holds what cannot be sent, {type(error).__name__}: {error}"
        ) from error


def check_versions(slot, node, found):
    """Raises `ValueError` where a worker has other versions of packages than this."""
    ours = versions()
    others = {n: v for n, v in found.items() if v != ours[n]}
    if others:
        shown = ", ".join(f"{n} {v} (here {ours[n]})" for n, v in others.items())
        raise ValueError(
            "Expected the same versions of packages on all nodes. Received: worker "
            f"{slot} on node {node!r} with {shown}. Install the same there."
        )


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    )
