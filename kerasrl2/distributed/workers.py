"""How many workers there are, where, and how they are fed."""

import dataclasses
from typing import Any

from kerasrl2._checks import check_choice, check_positive_integer, check_range


@dataclasses.dataclass(frozen=True)
class Workers:
    """Processes that play for a learner, for `fit(..., workers=...)`.

    Each is a Ray actor with `num_envs` environments of its own; the process that calls
    `fit` learns. `workers=8` is short for `Workers(8)`, on this machine.

    Attributes:
        count: Integer >= 1, how many.
        address: None for this machine: Ray is started for the run, listens on loopback
            only, and ends with it. `"auto"` or `"host:port"`: a running cluster.
        cpus: Float > 0, processors that each asks for. Together they must be there.
        block: Integer or None, steps of each environment that a worker plays at a
            time, for a replay buffer; None: about 512 steps of all its environments in
            Python, 2048 in TensorFlow. Others play rollouts of the agent's length.
        in_flight: Integer or None, requests to all workers together that have not been
            learned from; None: two a worker, fewer if they would fill a quarter of
            Ray's object store. Agents that learn from their own policy alone have one
            a worker.
        ordered: Boolean, whether workers are served in turn. Then a run repeats, with
            environments in TensorFlow to the bit, and is resumed so; one slow worker
            holds up all.
        average_gradients: Boolean, whether workers compute gradients of their part of
            each minibatch, which are averaged, instead of sending what they have
            played. Pays for large networks only.
        time_limit: Float > 0, seconds after which a worker that does not answer is
            replaced; three times as long for the first answer, which needs compiling.
        custom_objects: Dictionary of names to your own classes and functions that the
            agent uses, if Keras does not know them; as for `load_agent`.

    Example:
    >>> Workers(8).address is None
    True
    """

    count: int
    address: str | None = None
    cpus: float = 1.0
    block: int | None = None
    in_flight: int | None = None
    ordered: bool = False
    average_gradients: bool = False
    time_limit: float = 120.0
    custom_objects: Any = dataclasses.field(default=None, hash=False)

    def __post_init__(self):
        check_positive_integer("workers", self.count)
        for name in ("block", "in_flight"):
            if getattr(self, name) is not None:
                check_positive_integer(name, getattr(self, name))
        for name in ("cpus", "time_limit"):
            check_range(name, getattr(self, name), 0.0, open_low=True)
        for name in ("ordered", "average_gradients"):
            check_choice(name, getattr(self, name), (True, False))
        if self.address is not None and not isinstance(self.address, str):
            raise ValueError(
                'Expected `address` as None, "auto" or "host:port". Received: '
                f"{self.address!r}"
            )


def workers_of(value):
    """`Workers` from what `fit` was given: an integer, `Workers` or None."""
    if value is None or isinstance(value, Workers):
        return value
    return Workers(value)
