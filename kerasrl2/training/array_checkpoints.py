"""Checkpoints of dictionaries of arrays, of what is more than one agent."""

import numpy as np
import tensorflow as tf

from kerasrl2.errors import CheckpointError
from kerasrl2.training.checkpoints import CheckpointStore


class ArrayCheckpoints:
    """Keeps the newest checkpoints of one run, each complete or absent.

    They are those of `CheckpointStore`; none of the files can run code.

    Args:
        directory: String or path, of one run.
        kind: String, what they are of, such as "population".
    """

    def __init__(self, directory, kind):
        self.store, self.kind = CheckpointStore(directory), kind

    def save(self, number, arrays, about, fixed):
        """Writes a checkpoint.

        Args:
            number: Integer, which grows from one to the next.
            arrays: Dictionary of names to arrays.
            about: JSON-serializable, what is no array.
            fixed: JSON-serializable dictionary, what a run that resumes must share.
        """
        variables = {
            name: tf.Variable(value, trainable=False) for name, value in arrays.items()
        }
        self.store.write(number, variables, {self.kind: about, **fixed})

    def wait(self):
        """Waits until the last checkpoint is on disk."""
        self.store.wait()

    def newest(self, resume, fixed):
        """`(arrays, about, path)` of the newest checkpoint; None if there is none.

        Args:
            resume: Boolean, whether there may be one.
            fixed: As given to `save`.

        Raises:
            ValueError: There are checkpoints, but `resume` is False.
            CheckpointError: They are of something else.
        """
        if not resume:
            if self.store.paths():
                raise ValueError(
                    "Expected `checkpoint_dir` without checkpoints, or `resume=True`. "
                    f"Received: {self.store.directory} with {len(self.store.paths())}."
                )
            return None
        found = self.store.find()
        if found is None:
            return None
        missing = [name for name in (self.kind, *fixed) if name not in found.manifest]
        if missing:
            raise CheckpointError(
                f"Expected a checkpoint of a {self.kind}. Received: {found.path} "
                f"without {', '.join(missing)}."
            )
        for name, present in fixed.items():
            if found.manifest[name] != present:
                raise CheckpointError(
                    f"Expected to resume {found.path} with {name} "
                    f"{found.manifest[name]}. Received: {present}."
                )
        variables = {
            name: tf.Variable(tf.zeros(shape, dtype), trainable=False)
            for name, (shape, dtype) in found.variables.items()
        }
        self.store.restore(found, variables)
        arrays = {name: np.asarray(variable) for name, variable in variables.items()}
        return arrays, found.manifest[self.kind], found.path


def with_prefix(prefix, arrays):
    """Those of a dictionary whose names begin so, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
