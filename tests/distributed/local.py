"""A pool whose workers are in this process: what Ray carries, without Ray."""

import numpy as np

from kerasrl2.distributed.host import Failure, Host
from kerasrl2.distributed.pool import Reply, failure_of


class LocalPool:
    """Answers as `Pool` does, when it is asked to: in order."""

    def __init__(self, workers, order_of, on_replaced):
        self.workers, self._order_of = workers, order_of
        self._on_replaced, self.closed = on_replaced, False
        self.generations = [0] * workers.count
        self.open, self.hosts = {}, [None] * workers.count
        for slot in range(workers.count):
            self._make(slot)

    def _make(self, slot):
        order = self._order_of(slot, self.generations[slot])
        self.hosts[slot] = host = QuietHost()
        answer = host.prepare(lambda order: order, order)
        self._checked(slot, answer)

    def _checked(self, slot, answer):
        if isinstance(answer.value, Failure):
            raise failure_of(answer.value, slot, self.workers.count)
        return answer.value

    def wait_until_ready(self):
        pass

    def put(self, array):
        return np.array(array)

    def store_bytes(self):
        return float("inf")

    def submit(self, slot, number, method, *arguments):
        self.open[number] = slot, method, arguments

    def take(self, number=None):
        number = next(iter(self.open)) if number is None else number
        slot, method, arguments = self.open[number]
        answer = getattr(self.hosts[slot], method)(number, *arguments)
        del self.open[number]
        return Reply(slot, number, self._checked(slot, answer), answer.seconds)

    def kill(self, slot):
        """As if the worker had died."""
        self.generations[slot] += 1
        self._make(slot)
        self._on_replaced(slot, self.generations[slot])

    def close(self):
        self.closed = True


class QuietHost(Host):
    """A `Host` that leaves this process's TensorFlow as it is."""

    def _set_threads(self, threads):
        pass

    def _hide_devices(self):
        pass
