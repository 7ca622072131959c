"""Members in processes of their own, over Ray, so that a population trains at once."""

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.distributed import cluster


class RemoteMember:
    """A `Member` that lives in another process; made by `remote_members`.

    Its numbers and arrays are copied there and back in flight; nothing is on disk.

    Args:
        actor: Ray actor of a `_Host`.
        ray: The module Ray.
        index: Integer, for messages.
        time_limit: Float, seconds that an answer may take.

    Attributes:
        failure: None, or what ended the latest training with NaN or infinity.
    """

    structure = "remote"  # ids of classes differ; names and shapes are compared

    def __init__(self, actor, ray, index, time_limit):
        self._actor, self._ray = actor, ray
        self._index, self._time_limit = index, time_limit
        self.failure = None

    def plan(self, steps):
        """Tells the member of the env steps of the whole run."""
        self._call("plan", steps)

    def begin(self, steps):
        """Begins to train; returns a callable that waits for the score."""
        self.failure = None
        asked = self._actor.call.remote("train", steps)

        def wait():
            score = self._got(asked)
            self.failure = self._call("failed")
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
        self._call("set_numbers", numbers)

    def get_state(self, whole=False):
        """As `AgentMember.get_state`."""
        return self._call("get_state", whole)

    def set_state(self, state):
        """As `AgentMember.set_state`."""
        self._call("set_state", state)

    def close(self):
        """Ends the process."""
        self._ray.kill(self._actor)

    def _call(self, name, *arguments):
        return self._got(self._actor.call.remote(name, *arguments))

    def _got(self, asked):
        errors, which = self._ray.exceptions, f"Member {self._index} of the population"
        try:
            return self._ray.get(asked, timeout=self._time_limit)
        except errors.GetTimeoutError as error:
            raise TimeoutError(
                f"Expected an answer within {self._time_limit} s. Received: none from "
                f"{which}. Raise `time_limit`, or see what its environment waits for."
            ) from error
        except errors.RayActorError as error:
            raise RuntimeError(
                f"{which} has lost its process. Make the population anew and go on "
                "from its checkpoint: `fit(..., checkpoint_dir=..., resume=True)`."
            ) from error
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            kind = ValueError if isinstance(cause, ValueError) else RuntimeError
            raise kind(f"{which}: {type(cause).__name__}: {cause}") from error


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
        RemoteMember(host.remote(make, index), ray, index, time_limit)
        for index in range(size)
    ]
    for member in members:
        member.get_numbers([])  # made, or the error that ended it
    return members
