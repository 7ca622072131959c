"""Run directories: their names and their `config.yaml`."""

from pathlib import Path

import yaml


def free_run_directory(run_dir, algorithm, env_id):
    """Makes the directory of a new run.

    Args:
        run_dir: Path that must not hold a run yet, or None for the next free
            `runs/<algorithm>-<env>-<number>`.
        algorithm: String.
        env_id: String.

    Raises:
        ValueError: `run_dir` already holds a run.
    """
    if run_dir is not None:
        run_dir = Path(run_dir)
        if (run_dir / "config.yaml").exists():
            raise ValueError(
                f"Expected a new `--run-dir`. Received: {run_dir}, which holds a run "
                f"already. Choose another or delete it."
            )
        run_dir.mkdir(parents=True, exist_ok=True)
        return run_dir
    stem = f"{algorithm}-{env_id.replace('/', '_').replace(':', '_')}"
    number = 1
    while True:
        directory = Path("runs") / f"{stem}-{number}"
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return directory


def write_config(directory, **config):
    """Writes `config.yaml`, in the order given."""
    text = yaml.safe_dump(config, sort_keys=False)
    (Path(directory) / "config.yaml").write_text(text, encoding="utf-8")


def read_config(directory):
    """Reads `config.yaml` of a run.

    Raises:
        FileNotFoundError: The directory holds no run.
        ValueError: The file cannot be read.
    """
    path = Path(directory) / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a run directory that `kerasrl2 train` made. There is no {path}."
        )
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"Expected readable YAML in {path}: {error}") from error
    if not isinstance(config, dict) or not {"algorithm", "env"} <= set(config):
        raise ValueError(f"Expected the settings of a run in {path}.")
    return config
