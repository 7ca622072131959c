"""A study of Optuna's in a SQLite file, which a killed process leaves usable."""

import contextlib
import math
import sqlite3
import warnings
from pathlib import Path

import numpy as np

from kerasrl2._checks import check_choice
from kerasrl2._seeds import drawn_seed
from kerasrl2.tuning.spaces import suggest

PRUNERS = "median", "hyperband", "none"
FILE = "study.db"
_LOCK = ".lock"
_NAME = "kerasrl2"  # of the only study in the file, and of what it keeps for us


def open_study(directory, identity, pruner="median", reports=10):
    """Opens the study in a directory, or begins one there.

    Trials that were running when the process ended are marked as failed; they are
    repeated first.

    Args:
        directory: Path, made if it is not there.
        identity: Dictionary of plain values: what must be the same for trials to
            compare. `algorithm`, `env` and `seed` are needed; a value of None is what
            the study has, a seed of None in a new one is drawn.
        pruner: `"median"`, `"hyperband"` or `"none"`.
        reports: Integer, evaluations of a trial.

    Returns:
        `Study`; to be closed.

    Raises:
        ImportError: Optuna is not installed.
        ValueError: The directory holds something else, a study with another identity,
            or one that another process works at.
    """
    optuna = _optuna()
    check_choice("pruner", pruner, PRUNERS)
    directory = Path(directory)
    path = directory / FILE
    new = not path.exists()
    found = [p.name for p in directory.iterdir()] if directory.is_dir() else []
    if new and set(found) - {_LOCK}:
        raise ValueError(
            f"Expected a study or an empty directory. Received: {directory}, which "
            f"holds {', '.join(sorted(found)[:3])}. Choose another."
        )
    directory.mkdir(parents=True, exist_ok=True)
    lock = _locked(directory)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        study = optuna.create_study(
            storage=storage,
            pruner=_pruner(optuna, pruner, reports),
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
        )
        kept = study.user_attrs.get(_NAME)
        if kept is None and study.trials:
            raise ValueError(
                f"Expected a study that `kerasrl2 tune` began. Received: {path}, which "
                "something else wrote. Choose another directory."
            )
        if kept is None:
            kept = dict(identity)
            if kept["seed"] is None:
                kept["seed"] = drawn_seed()
            study.set_user_attr(_NAME, kept)
        _check_identity(directory, kept, identity)
    except BaseException as error:
        lock.close()
        if isinstance(error, ValueError):
            raise
        if type(error).__name__ in ("DatabaseError", "OperationalError"):
            raise ValueError(
                f"Expected a study of Optuna's in {path}. Received: "
                f"{getattr(error, 'orig', error)}. Choose another directory."
            ) from None
        raise
    return Study(study, kept, lock, directory, new)


class Study:
    """Trials of one algorithm in one environment; made by `open_study`.

    With a seed and one trial at a time, its trials are the same however often it was
    interrupted: each draws from random numbers of its own.

    Attributes:
        identity: Dictionary, what `open_study` was given first.
        directory: Path.
        new: Boolean, whether it was begun and not found.

    Example:
    >>> import tempfile
    >>> identity = {"algorithm": "ppo", "env": "CartPole-v1", "seed": 0}
    >>> space = {"gamma": {"choices": [0.9, 0.99]}}
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     study = open_study(directory, identity)
    ...     trial, settings, seed = study.ask(space)
    ...     study.finish(trial, 200.0)
    ...     number, value, best = study.best()
    ...     study.close()
    >>> number, value, best == settings
    (1, 200.0, True)
    """

    def __init__(self, study, identity, lock, directory, new):
        self.identity, self.directory, self.new = identity, directory, new
        self._study, self._hold = study, lock
        for trial in self._in_state("RUNNING"):
            self._repeat(trial.number)

    def ask(self, space, fixed=None):
        """A new trial and its settings.

        Args:
            space: As for `suggest`.
            fixed: As for `suggest`.

        Returns:
            `(trial, settings, seed)`: a handle for the other methods, a dictionary, and
            an integer for the agent, the same if the trial is repeated.
        """
        optuna = _optuna()
        waiting = [trial.user_attrs["index"] for trial in self._in_state("WAITING")]
        index = min(waiting, default=self._next_index())
        words = np.random.SeedSequence([self.identity["seed"], index])
        sampler_seed, agent_seed = (int(w) >> 1 for w in words.generate_state(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = optuna.samplers.TPESampler(
                seed=sampler_seed, multivariate=True, constant_liar=True
            )
        trial = self._study.ask()
        index = trial.user_attrs.get("index", index)
        trial.set_user_attr("index", index)
        settings = suggest(trial, space, fixed)
        trial.set_user_attr("settings", settings)
        return trial, settings, agent_seed

    def report(self, trial, value, part):
        """Notes an evaluation; returns whether the trial is to be pruned.

        Args:
            trial: What `ask` returned.
            value: Float.
            part: Integer, the number of the part of the training that just ended.
        """
        trial.report(value, part)
        return trial.should_prune()

    def finish(self, trial, value):
        """Notes the result of a trial, a finite float."""
        self._study.tell(trial, value)

    def prune(self, trial, reason=None):
        """Notes that a trial was ended early; `reason` of one that diverged."""
        if reason is not None:
            trial.set_user_attr("reason", reason)
        self._tell(trial.number, "PRUNED")

    def fail(self, trial, reason):
        """Notes that a trial could not be made; it counts, and is not repeated."""
        trial.set_user_attr("reason", reason)
        self._tell(trial.number, "FAIL")

    def repeat(self, trial):
        """Gives a trial up for now; `ask` returns its settings again."""
        self._repeat(trial.number)

    def counts(self):
        """Dictionary of `"finished"`, `"pruned"` and `"failed"` to integers."""
        trials = self._study.trials
        kinds = [trial.state.name for trial in trials]
        failed = [t for t in self._in_state("FAIL") if "reason" in t.user_attrs]
        return {
            "finished": kinds.count("COMPLETE"),
            "pruned": kinds.count("PRUNED"),
            "failed": len(failed),
        }

    def best(self):
        """`(number, value, settings)` of the best finished trial, or None."""
        finished = [t for t in self._in_state("COMPLETE") if math.isfinite(t.value)]
        if not finished:
            return None
        best = max(finished, key=lambda trial: trial.value)
        return best.user_attrs["index"] + 1, best.value, best.user_attrs["settings"]

    def number(self, trial):
        """The trial's number, from 1, without counting repetitions."""
        return trial.user_attrs["index"] + 1

    def settings(self, trial):
        """The settings that `ask` returned with the trial."""
        return trial.user_attrs["settings"]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Lets another process work at the study."""
        self._hold.close()

    def discard(self):
        """Removes a study in which nothing could be tried."""
        self.close()
        for name in (FILE, _LOCK):
            (self.directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else is there by now
            self.directory.rmdir()

    def _in_state(self, name):
        return [t for t in self._study.trials if t.state.name == name]

    def _next_index(self):
        known = [t.user_attrs["index"] for t in self._study.trials if t.user_attrs]
        return max(known, default=-1) + 1

    def _repeat(self, number):
        trial = self._study.trials[number]
        self._tell(number, "FAIL")
        if "settings" in trial.user_attrs:  # else it was killed before it had any
            index = {"index": trial.user_attrs["index"]}
            self._study.enqueue_trial(trial.params, user_attrs=index)

    def _tell(self, number, state):
        state = _optuna().trial.TrialState[state]
        self._study.tell(number, state=state)


def _optuna():
    try:
        import optuna
    except ImportError:
        raise ImportError(
            "Expected Optuna for hyperparameter search. Received: it is not installed. "
            "`pip install 'kerasrl2[tune]'` installs it."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _pruner(optuna, name, reports):
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=reports)
    return optuna.pruners.MedianPruner(
        n_startup_trials=5, n_warmup_steps=max(1, reports // 4)
    )


def _locked(directory):
    """A connection whose open transaction no other process can begin.

    The system ends it with the process, however that dies.
    """
    lock = sqlite3.connect(directory / _LOCK, timeout=0.0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        lock.close()
        raise ValueError(
            "Expected a study that no other process works at. Received: "
            f"{directory}. Wait for it, or choose another directory."
        ) from None
    return lock


def _check_identity(directory, kept, identity):
    wanted = {name: value for name, value in identity.items() if value is not None}
    for name in ("algorithm", "env"):
        if kept[name] != wanted[name]:
            raise ValueError(
                f"Expected in {directory} a study of {wanted['algorithm']} on "
                f"{wanted['env']}. Received: one of {kept['algorithm']} on "
                f"{kept['env']}. Choose another directory with `--study`."
            )
    for name, value in wanted.items():
        if kept.get(name) != value:
            raise ValueError(
                f"Expected `{name}` as the study in {directory} has it, "
                f"{kept.get(name)!r}, to continue it. Received: {value!r}. Choose "
                "another directory with `--study`, or leave the option out."
            )
