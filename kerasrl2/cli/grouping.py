"""Runs grouped by environment and by algorithm, for `plot` and `report`."""

from pathlib import Path

from kerasrl2.cli.configuration import read_config
from kerasrl2.cli.worlds import label
from kerasrl2.plotting import has_episodes, read_metrics


def grouped(runs):
    """Metrics of runs; those that differ in nothing but their seeds are together.

    Args:
        runs: List of paths: run directories, or CSV files as `CSVLogger` writes them.

    Returns:
        Dictionary of environments, with their keywords and wrappers, to dictionaries of
        labels to lists of metrics. A label is an algorithm's name, with what its
        settings have of their own where the settings of its runs differ; or the path of
        a CSV file, whose environment is `""`.

    Raises:
        FileNotFoundError: A run or its metrics are not there.
        ValueError: A run has no finished epoch, or no return.
    """
    groups = {}
    for run in runs:
        run = Path(run)
        if run.suffix == ".csv" and not run.is_dir():
            key, settings = ("", str(run)), {}
        else:
            config = read_config(run)
            key, settings = (label(config), config["algorithm"]), _settings(config)
        metrics = read_metrics(run)
        if not has_episodes(metrics):
            raise ValueError(
                "Expected runs with a return: an episode that ended, or an evaluation. "
                f"Received: {run}, which has none. Train it for more steps: `kerasrl2 "
                f"resume {run} --steps ...`."
            )
        groups.setdefault(key, []).append((settings, metrics))
    result = {}
    for (env, name), found in groups.items():
        varied = _varied([settings for settings, _ in found])
        for settings, metrics in found:
            own = ", ".join(f"{key}={settings.get(key)}" for key in varied)
            labels = result.setdefault(env, {})
            labels.setdefault(f"{name}, {own}" if own else name, []).append(metrics)
    return result


def _settings(config):
    return config.get("settings", config.get("overrides", {}))


def _varied(settings):
    """Names of the settings that are not the same everywhere."""
    names = dict.fromkeys(name for values in settings for name in values)
    first = settings[0]
    return [n for n in names if any(s.get(n) != first.get(n) for s in settings)]
