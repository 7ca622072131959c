"""Checkpoints of whole runs, and resuming from them."""

import importlib.metadata
import json
import os
import time
import warnings

import keras
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._numbers import number_names
from kerasrl2.errors import CheckpointError
from kerasrl2.training.checkpoints import CheckpointStore

_NEEDED = "algorithm", "environment", "num_envs", "seed", "settings", "versions"
_PACKAGES = "kerasrl2", "tensorflow", "keras", "gymnasium", "numpy"


class TrainingCheckpoint(keras.callbacks.Callback):
    """Keeps checkpoints from which `fit(..., resume=True)` continues exactly.

    A checkpoint holds the complete state of a run: weights, target networks, all
    optimizer state, the replay buffer with its priorities and schedules, running
    statistics, random seeds and counters, environments written in TensorFlow with their
    unfinished episodes, and the history. A run that was killed and resumed ends with
    the same bits as one that was not.

    - Environments in Python (Gymnasium) cannot be stored: they begin new episodes.
    - Keras' `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau` keep the best
      value so far. Your own callbacks start anew, unless they have `get_state()`, which
      returns a JSON-serializable state, and `set_state(state)`, which is called after
      `on_train_begin`.
    - After Ctrl-C or SIGTERM one more checkpoint is written before training ends.

    Args:
        directory: String or path, of one run.
        every: Integer or None, env steps between checkpoints; None writes one at the
            end of each epoch. They are written at the end of a block, about twice per
            second at most.
        keep: Integer >= 1, number of the newest checkpoints to keep.
        buffer: Boolean, whether to store the replay buffer. Without it checkpoints are
            small, but a resumed run is a different one: it first fills the buffer anew
            with its current policy.

    Attributes:
        store: The `CheckpointStore`; its `reports` give bytes and seconds.
        found: The `Checkpoint` that the latest `fit` went on from, or None.

    Example:
    >>> import tempfile
    >>> import kerasrl2 as krl
    >>> directory = tempfile.mkdtemp()
    >>> def train(steps):
    ...     agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    ...     agent.fit(
    ...         "CartPole-v1", steps=steps, epochs=2, verbose=0,
    ...         checkpoint_dir=directory, resume=True,
    ...     )
    ...     return agent
    >>> int(train(400).env_steps), int(train(800).env_steps)
    (400, 800)
    """

    def __init__(self, directory, every=None, keep=3, buffer=True):
        super().__init__()
        if every is not None:
            check_positive_integer("every", every)
        self.every, self.buffer = every, buffer
        self.store = CheckpointStore(directory, keep)
        self.found = None
        self._written = 0  # env steps of the latest one

    def find(self, resume):
        """The `Checkpoint` to resume from, or None; raises if it would be ignored."""
        self.found = self.store.find() if resume else None
        if not resume and self.store.paths():
            raise ValueError(
                f"Expected `checkpoint_dir` without checkpoints, or `resume=True` to "
                f"continue from them. Received: {self.store.directory} with "
                f"{len(self.store.paths())} checkpoints."
            )
        if self.found is not None:
            missing = {*_NEEDED, "progress"} - set(self.found.manifest)
            if missing:
                raise CheckpointError(
                    f"Expected a checkpoint that `fit` wrote. Received: "
                    f"{self.found.path} without {', '.join(sorted(missing))}."
                )
        return self.found

    def save_if_due(self, loop, progress, epoch_ended, interrupted):
        """Writes a checkpoint if one is due or the run ends here."""
        due = epoch_ended
        if self.every is not None:
            due = int(loop.agent.env_steps) - self._written >= self.every
        ended = progress.is_done or loop.agent.stop_training
        if due or ended or interrupted:
            self.save(loop, progress.settings, progress.state())

    def save(self, loop, settings, state):
        """Writes a checkpoint of a run that stands where `Progress.state` says."""
        env_steps = int(loop.agent.env_steps)
        manifest = {
            "algorithm": type(loop.agent).__name__,
            "environment": loop.env.id,
            "num_envs": loop.env.num_envs,
            "seed": loop.agent.seed,
            "settings": settings,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": _versions(),
            "threads": _threads(),
            "progress": state,
        }
        self.store.write(env_steps, self._variables(loop), manifest)
        self._written = env_steps

    def restore(self, checkpoint, loop, progress):
        """Restores the state of a run from a checkpoint."""
        manifest = checkpoint.manifest
        for name, present in [
            ("algorithm", type(loop.agent).__name__),
            ("environment", loop.env.id),
            ("num_envs", loop.env.num_envs),
        ]:
            if manifest[name] != present:
                raise CheckpointError(
                    f"Expected to resume {checkpoint.path} with {name} "
                    f"{manifest[name]!r}. Received: {present!r}."
                )
        optional = ["buffer", "plan"] if hasattr(loop.agent, "buffer") else []
        present, stored = progress.settings, manifest["settings"]
        changed = {
            name: value
            for name, value in present.items()
            if name in stored and stored[name] != value
        }
        self.store.restore(checkpoint, self._variables(loop, True), optional)
        for name in set(changed) & set(number_names(type(loop.agent))):
            setattr(loop.agent, name, present[name])
        loop.restored()
        progress.set_state(manifest["progress"])
        self._written = manifest["env_steps"]
        if changed:
            shown = [f"{n}={v!r} (was {stored[n]!r})" for n, v in changed.items()]
            warnings.warn(
                f"Resuming {checkpoint.path} with other settings: {', '.join(shown)}.",
                stacklevel=3,
            )
        _warn_of_circumstances(checkpoint)

    def _variables(self, loop, buffer=False):
        """Variables of a run by name; those of the buffer if they are stored."""
        variables = loop.variables_by_name()
        if self.buffer or buffer:
            return variables
        left_out = "buffer/", "plan/"
        return {n: v for n, v in variables.items() if not n.startswith(left_out)}


def checkpoint_of(callbacks, directory, every, resume):
    """The `TrainingCheckpoint` of a call of `fit` and the checkpoint to resume from.

    Args:
        callbacks: List of callbacks or None; may hold the `TrainingCheckpoint`.
        directory: String, path or None.
        every: Integer or None, with `directory`.
        resume: Boolean.

    Returns:
        `(TrainingCheckpoint, Checkpoint)`, each may be None.
    """
    given = [c for c in callbacks or [] if isinstance(c, TrainingCheckpoint)]
    if len(given) + (directory is not None) > 1:
        raise ValueError(
            "Expected one `TrainingCheckpoint`, or `checkpoint_dir` instead. "
            f"Received: {len(given)} and checkpoint_dir={directory!r}"
        )
    if not given and directory is None:
        if resume or every is not None:
            raise ValueError(
                "Expected `checkpoint_dir` with `resume` and `checkpoint_every`. "
                f"Received: resume={resume}, checkpoint_every={every}"
            )
        return None, None
    checkpoint = given[0] if given else TrainingCheckpoint(directory, every)
    return checkpoint, checkpoint.find(resume)


def plain_settings(agent):
    """The agent's numbers, strings and Booleans, as read back from JSON."""
    plain = {
        name: value
        for name, value in agent.get_config().items()
        if isinstance(value, bool | int | float | str | None) and name != "name"
    }
    return json.loads(json.dumps(plain))


def _versions():
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _threads():
    """Threads that share an operation; their number changes the order of sums."""
    chosen = tf.config.threading.get_intra_op_parallelism_threads()
    if chosen == 0 and hasattr(os, "sched_getaffinity"):  # TensorFlow's choice
        return len(os.sched_getaffinity(0))
    return chosen or os.cpu_count()


def _warn_of_circumstances(checkpoint):
    """Warns if a run will not continue bit for bit."""
    manifest = checkpoint.manifest
    stored = {**manifest["versions"], "threads": manifest.get("threads", _threads())}
    present = {**_versions(), "threads": _threads()}
    changed = [
        f"{name} {present[name]} (was {stored[name]})"
        for name in sorted(set(stored) & set(present))
        if stored[name] != present[name]
    ]
    if changed:
        warnings.warn(
            f"Resuming {checkpoint.path} with {', '.join(changed)}: the run "
            "continues, but numbers may differ in their last bits from those of a run "
            "that was never stopped.",
            stacklevel=4,
        )
