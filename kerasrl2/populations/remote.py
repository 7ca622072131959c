"""Members in processes of their own, over Ray, so that a population trains at once."""

import functools
import warnings

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.distributed import cluster


class RemoteMember:
    """A `Member` that lives in another process; made by `remote_members`.

    Its numbers and arrays are copied there and back in flight; nothing is on disk. If
    the process is lost, a new one takes its place with a warning: it has the
    hyper-parameters, weights, optimizer and statistics of the end of the generation
    before, empty buffers and new episodes, and trains the generation again.

    Args:
        start: Callable that begins a Ray actor of a `_Host` and returns it.
        ray: The module Ray.
        index: Integer, for messages.
        time_limit: Float, seconds that an answer may take.

    Attributes:
        failure: None, or what ended the latest training with NaN or infinity.
    """

    structure = "remote"  # ids of classes differ; names and shapes are compared

    def __init__(self, start, ray, index, time_limit):
        self._start, self._ray = start, ray
        self._index, self._time_limit = index, time_limit
        self.failure = None
        self._planned, self._numbers, self._state = None, {}, None
        self._answered = False  # else it was not made, and another would not be
        self._actor = start()

    def plan(self, steps):
        """Tells the member of the env steps of the whole run."""
        self._planned = steps
        self._call("plan", steps)

    def begin(self, steps):
        """Begins to train; returns a callable that waits for the score."""
        self.failure = None
        asked = self._actor.call.remote("train", steps)

        def wait():
            score = self._got(asked, "train", steps)
            self.failure = self._call("failed")
            self._state = self._call("get_state", False)
            return score

        return wait

    def train(self, steps):
        """Trains for so many env steps; returns the score."""
        return self.begin(steps)()

    def get_numbers(self, names):
        """As `AgentMember.get_numbers`."""
        return self._call("get_numbers", list(names))

    def set_numbers(self, numbers):
        """As `AgentMember.set_numbers`."""
        self._numbers = {**self._numbers, **numbers}
        self._call("set_numbers", numbers)

    def get_state(self, whole=False):
        """As `AgentMember.get_state`."""
        return self._call("get_state", whole)

    def set_state(self, state):
        """As `AgentMember.set_state`."""
        self._call("set_state", state)
        self._state = self._call("get_state", False)

    def close(self):
        """Ends the process."""
        self._ray.kill(self._actor)
        self._start = None

    def _call(self, name, *arguments):
        asked = self._actor.call.remote(name, *arguments)
        return self._got(asked, name, *arguments)

    def _got(self, asked, name, *arguments):
        """The answer to a call that was made; to one made again, if it was lost."""
        try:
            return self._answer(asked)
        except self._ray.exceptions.RayActorError as error:
            if not self._answered:
                reason = str(error).strip()[-600:]  # the error, after its traceback
                raise RuntimeError(f"{self} could not be made: {reason}") from error
            if self._start is None:
                raise RuntimeError(
                    f"{self} was closed. Make the population anew and go on from its "
                    "checkpoint: `fit(..., checkpoint_dir=..., resume=True)`."
                ) from error
            lost = error
        try:
            self._replace()
            return self._answer(self._actor.call.remote(name, *arguments))
        except self._ray.exceptions.RayActorError as error:
            raise RuntimeError(
                f"{self} has lost its process, and the one in its place, too: "
                f"{lost!s:.300} See whether there is memory for all members."
            ) from error

    def _replace(self):
        """Begins another process with what is known of the member."""
        warnings.warn(
            f"{self} has lost its process. Another one takes its place, with the state "
            "of the end of the last generation.",
            stacklevel=6,
        )
        self._actor = self._start()
        calls = [("set_numbers", self._numbers)]
        if self._state is not None:
            calls.append(("set_state", self._state))
        if self._planned is not None:
            calls.append(("plan", self._planned))
        for name, argument in calls:
            self._answer(self._actor.call.remote(name, argument))

    def _answer(self, asked):
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(asked, timeout=self._time_limit)
        except errors.GetTimeoutError as error:
            raise TimeoutError(
                f"Expected an answer within {self._time_limit} s. Received: none from "
                f"{self}. Raise `time_limit`, or see what its environment waits for."
            ) from error
        except errors.RayActorError:
            raise
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            kind = ValueError if isinstance(cause, ValueError) else RuntimeError
            raise kind(f"{self}: {type(cause).__name__}: {cause}") from error
        self._answered = True
        return answer

    def __str__(self):
        return f"Member {self._index} of the population"


class _Host:
    """Lives in the other process and holds the member."""

    def __init__(self, make, index):
        self._member = make(index)

    def call(self, name, *arguments):
        if name == "failed":  # exceptions of this package travel as text
            failure = getattr(self._member, "failure", None)
            return None if failure is None else str(failure)
        if name == "plan" and not hasattr(self._member, "plan"):
            return None
        return getattr(self._member, name)(*arguments)


def remote_members(make, size, cpus=1.0, time_limit=600.0):
    """List of `RemoteMember`s, each in a process of its own.

    A Ray that runs in this process is used; else one is started on this machine, which
    listens on loopback only and ends with this process.

    Args:
        make: Callable from an index to a `Member`; it and what it makes are run in the
            other processes.
        size: Integer >= 2, number of members.
        cpus: Float > 0, processors that each asks for. Together they must be there.
        time_limit: Float > 0, seconds that a generation of a member may take.

    Raises:
        ImportError: Ray is not installed.
        ValueError: There are fewer processors; or `make` raised.
    """
    check_positive_integer("size", size)
    check_range("cpus", cpus, 0.0, open_low=True)
    check_range("time_limit", time_limit, 0.0, open_low=True)
    ray = cluster.started()
    there = ray.cluster_resources().get("CPU", 0.0)
    if size * cpus > there + 1e-6:  # Ray would wait in silence
        raise ValueError(
            f"Expected at most {there:g} processors for all members. Received: "
            f"{size} members of cpus={cpus:g}. Take fewer members, or `cpus` below 1."
        )
    host = ray.remote(num_cpus=cpus, max_restarts=0)(_Host)
    members = [
        RemoteMember(
            functools.partial(host.remote, make, index), ray, index, time_limit
        )
        for index in range(size)
    ]
    for member in members:
        member.get_numbers([])  # made, or the error that ended it
    return members
