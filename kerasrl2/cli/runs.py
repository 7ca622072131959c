"""Run directories: their names and their `config.yaml`."""

import json
import os
from pathlib import Path

from kerasrl2.cli.configuration import NAME
from kerasrl2.cli.paths import check_directory

LAST, BEST, BEST_RECORD = "agent.keras", "best.keras", "best.json"
FILES = LAST, BEST_RECORD, BEST, NAME, "learning_curve.png", "metrics.csv"
_ROOT = Path("runs")


def check_run_directory(run_dir):
    """Raises `ValueError` unless a new run can be kept there; makes nothing.

    Args:
        run_dir: Path, or None for one under `runs`.
    """
    if run_dir is None:
        check_directory("runs", _ROOT)
        return
    run_dir = Path(run_dir)
    if holds_run(run_dir):
        raise ValueError(
            f"Expected a new `--run-dir`. Received: {run_dir}, which holds a run "
            f"already. Choose another, or continue it: `kerasrl2 resume {run_dir}`."
        )
    check_directory("--run-dir", run_dir)
    found = sorted(p.name for p in run_dir.iterdir()) if run_dir.exists() else []
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ValueError(
            "Expected `--run-dir` as a new or an empty directory. Received: "
            f"{run_dir}, which is no run and holds {', '.join(found[:3])}{more}. "
            "Choose another."
        )


def holds_run(directory):
    """Whether there is a run, and no doubt that the path can be looked at."""
    return os.path.exists(Path(directory) / NAME)


def free_run_directory(run_dir, algorithm, env_id):
    """Makes the directory of a new run.

    Args:
        run_dir: Path of a new or empty directory, or None for the next free
            `runs/<algorithm>-<env>-<number>`.
        algorithm: String.
        env_id: String.

    Raises:
        ValueError: `run_dir` holds something already, or cannot be written.
    """
    check_run_directory(run_dir)
    if run_dir is not None:
        run_dir = Path(run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        return run_dir
    stem = f"{algorithm}-{env_id.replace('/', '_').replace(':', '_')}"
    number = 1
    while True:
        directory = _ROOT / f"{stem}-{number}"
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return directory


def results_in(directory):
    """Names of the files of a run that are there, in alphabetical order."""
    return [name for name in FILES if (Path(directory) / name).is_file()]


def read_best(directory):
    """What the best evaluation of a run was; None if there is no such agent.

    Returns:
        Dictionary with `return`, `env_steps` and `episodes`.
    """
    directory = Path(directory)
    try:
        best = json.loads((directory / BEST_RECORD).read_text(encoding="utf-8"))
        known = {name: best[name] for name in ("return", "env_steps", "episodes")}
        usable = all(isinstance(value, int | float) for value in known.values())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if usable and (directory / BEST).is_file() else None
