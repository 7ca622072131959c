"""Checkpoints of whole populations."""

import numpy as np
import tensorflow as tf

from kerasrl2.errors import CheckpointError
from kerasrl2.training.checkpoints import CheckpointStore

_NEEDED = "population", "members", "ranges"


class PopulationCheckpoints:
    """Keeps the newest checkpoints of a population, each complete or absent.

    They are those of `training.checkpoints.CheckpointStore`, numbered by generation;
    none of the files can run code.

    Args:
        directory: String or path, of one run.
    """

    def __init__(self, directory):
        self.store = CheckpointStore(directory)

    def save(self, population):
        """Writes the state of all members and of the population."""
        variables = {
            f"{i}/{name}": tf.Variable(value, trainable=False)
            for i, member in enumerate(population.members)
            for name, value in member.get_state(whole=True).items()
        }
        manifest = {
            "population": population.state(),
            "members": len(population.members),
            "ranges": list(population.ranges),
        }
        self.store.write(population.generation, variables, manifest)

    def wait(self):
        """Waits until the last checkpoint is on disk."""
        self.store.wait()

    def restore_into(self, population, resume):
        """Restores the newest checkpoint; returns whether there was one.

        Raises:
            ValueError: There are checkpoints, but `resume` is False.
            CheckpointError: They are of another population.
        """
        if not resume:
            if self.store.paths():
                raise ValueError(
                    "Expected `checkpoint_dir` without checkpoints, or `resume=True`. "
                    f"Received: {self.store.directory} with {len(self.store.paths())}."
                )
            return False
        found = self.store.find()
        if found is None:
            return False
        self._check(found, population)
        variables = {
            name: tf.Variable(tf.zeros(shape, dtype), trainable=False)
            for name, (shape, dtype) in found.variables.items()
        }
        self.store.restore(found, variables)
        for i, member in enumerate(population.members):
            prefix = f"{i}/"
            state = {
                name.removeprefix(prefix): np.asarray(variable)
                for name, variable in variables.items()
                if name.startswith(prefix)
            }
            try:
                member.set_state(state)
            except ValueError as error:
                raise CheckpointError(f"{found.path}: {error}") from error
        population.set_state(found.manifest["population"])
        return True

    def _check(self, found, population):
        manifest = found.manifest
        missing = [name for name in _NEEDED if name not in manifest]
        if missing:
            raise CheckpointError(
                f"Expected a checkpoint of a population. Received: {found.path} "
                f"without {', '.join(missing)}."
            )
        for name, present in (
            ("members", len(population.members)),
            ("ranges", list(population.ranges)),
        ):
            if manifest[name] != present:
                raise CheckpointError(
                    f"Expected to resume {found.path} with {name} {manifest[name]}. "
                    f"Received: {present}."
                )
