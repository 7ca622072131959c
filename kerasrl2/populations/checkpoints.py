"""Checkpoints of whole populations."""

from kerasrl2.errors import CheckpointError
from kerasrl2.training.array_checkpoints import ArrayCheckpoints, with_prefix


class PopulationCheckpoints(ArrayCheckpoints):
    """Checkpoints of all members and of the population, numbered by generation.

    Args:
        directory: String or path, of one run.
    """

    def __init__(self, directory):
        super().__init__(directory, "population")

    def write(self, population):
        """Writes the state of all members and of the population."""
        arrays = {
            f"{i}/{name}": value
            for i, member in enumerate(population.members)
            for name, value in member.get_state(whole=True).items()
        }
        fixed = _fixed(population)
        self.save(population.generation, arrays, population.state(), fixed)

    def restore_into(self, population, resume):
        """Restores the newest checkpoint; returns whether there was one.

        Raises:
            ValueError: There are checkpoints, but `resume` is False.
            CheckpointError: They are of another population.
        """
        newest = self.newest(resume, _fixed(population))
        if newest is None:
            return False
        arrays, about, path = newest
        for i, member in enumerate(population.members):
            try:
                member.set_state(with_prefix(f"{i}/", arrays))
            except ValueError as error:
                raise CheckpointError(f"{path}: {error}") from error
        population.set_state(about)
        return True


def _fixed(population):
    return {"members": len(population.members), "ranges": list(population.ranges)}
