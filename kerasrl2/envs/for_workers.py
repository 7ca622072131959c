"""Environments in Python of several workers."""

from kerasrl2.envs.core import Environment


class WorkerEnvironments(Environment):
    """Environments in Python of several workers, one for each.

    Only what is told of all: `parts` are reset and stepped, each by its worker.

    Args:
        parts: List of `Environment`s of equal kind.

    Attributes:
        parts: The same list.
    """

    def __init__(self, parts):
        first = parts[0]
        spaces = first.observation_space, first.action_space
        super().__init__(first.id, first.num_envs, *spaces)
        self.parts, self.compilable = list(parts), first.compilable
        self.always_valid = all(part.always_valid for part in parts)
        for i, part in enumerate(parts):
            if any(part.shares_copies_with(other) for other in parts[:i]):
                raise ValueError(shared_environment(first.id, len(parts)))

    def shares_copies_with(self, other):
        return any(part.shares_copies_with(other) for part in self.parts)

    def record_info(self, keys):
        for part in self.parts:
            part.record_info(keys)

    def finished_info(self):
        return [
            (copy + index * self.num_envs, episode, values)
            for index, part in enumerate(self.parts)
            for copy, episode, values in part.finished_info()
        ]

    def close(self):
        for part in self.parts:
            part.close()


def shared_environment(id, count):
    """The message where several workers would step the same environment."""
    return (
        f"Expected an environment for each of {count} workers. Received: one object, "
        f"{id!r}, which they cannot share. Give `fit` its id, or a callable that "
        "returns a new one each time, such as `lambda: gymnasium.make(...)`; or take "
        "`workers=1`."
    )
