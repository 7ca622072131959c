"""Metrics of runs, wherever they are."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

COLUMNS = {"evaluation": "val_return", "training": "return"}


def read_metrics(path):
    """Columns of a run's `metrics.csv` as float arrays.

    Args:
        path: A run directory or the file itself.

    Returns:
        Dictionary of column names to `[epochs]` float64, NaN for empty cells.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds no finished epoch.
    """
    path = Path(path)
    path = path / "metrics.csv" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a run with metrics. There is no file {path}."
        )
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"Expected readable metrics in {path}: {error}") from error
    if not rows or "env_steps" not in rows[0]:
        raise ValueError(f"Expected at least one finished epoch in {path}.")
    return {
        name: np.array([_number(row[name]) for row in rows]) for name in rows[0] if name
    }


def metrics_of(source):
    """Metrics of a run in any of the forms in which there are some.

    Args:
        source: A run directory or a CSV file (`read_metrics`), the `keras.callbacks`
            `History` that `fit` returned, its `history`, or a dictionary of arrays.

    Returns:
        Dictionary of names to `[epochs]` float64.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no finished epoch.

    Example:
    >>> metrics_of({"env_steps": [100, 200], "return": [9.5, 21.0]})["return"]
    array([ 9.5, 21. ])
    """
    if isinstance(source, str | Path):
        return read_metrics(source)
    columns = getattr(source, "history", source)
    if not isinstance(columns, Mapping) or len(columns.get("env_steps", ())) == 0:
        known = list(columns) if isinstance(columns, Mapping) else columns
        raise ValueError(
            "Expected a run directory, a CSV file, a `History` or a dictionary with "
            f"`env_steps` of at least one epoch. Received: {known!r}"
        )
    return {name: np.array(values, "float64") for name, values in columns.items()}


def has_episodes(metrics):
    """Whether there is any return: an episode that ended, or an evaluation."""
    return any(
        np.isfinite(metrics[name]).any() for name in COLUMNS.values() if name in metrics
    )


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
