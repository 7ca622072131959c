"""`kerasrl2 train` and `kerasrl2 resume`: what is to be run, and where."""

from pathlib import Path

from kerasrl2 import _algorithms
from kerasrl2._seeds import drawn_seed
from kerasrl2.cli.configuration import DEFAULTS, in_its_words, read_config
from kerasrl2.cli.paths import check_directory
from kerasrl2.cli.running import run
from kerasrl2.cli.runs import check_run_directory, free_run_directory, holds_run


def train(
    algorithm, env_id, run_dir, overrides, num_envs=None, resume=False, **options
):
    """Trains, evaluates, saves and plots; see `kerasrl2 train --help`.

    Args:
        algorithm: String.
        env_id: String.
        run_dir: Path or None.
        overrides: Dictionary, settings of the agent.
        num_envs: Integer or None.
        resume: Boolean.
        **options: The rest of what `config.yaml` keeps.
    """
    options = checked(algorithm, run_dir, resume, options)
    if resume and holds_run(run_dir):
        continue_run(run_dir, options["steps"], algorithm, env_id)
        return
    check_run_directory(run_dir)
    if num_envs is not None:
        overrides = {**overrides, "num_envs": num_envs}
    config = {"algorithm": algorithm, "env": env_id, **DEFAULTS, **options}
    config["overrides"] = overrides
    if config["seed"] is None:
        config["seed"] = drawn_seed()
    run(config, lambda: free_run_directory(run_dir, algorithm, env_id))


def checked(algorithm, run_dir, resume, options):
    """Options of `train` in the words of `config.yaml`; raises on wrong ones."""
    _algorithms.check_name(algorithm)
    options = in_its_words(options)
    if options.get("address") is not None and options["workers"] is None:
        raise ValueError(
            "Expected `--workers` with `--address`: how many there are to be. "
            f"Received: --address {options['address']} alone."
        )
    if resume and run_dir is None:
        raise ValueError("Expected `--run-dir` with `--resume`: the run to continue.")
    return options


def continue_run(directory, steps=None, algorithm=None, env_id=None):
    """Continues the run in a directory; see `kerasrl2 resume --help`.

    Args:
        directory: Path.
        steps: Integer, env steps in total, or None for those of the run.
        algorithm: String, what the run's must be, or None for any.
        env_id: String, what the run's must be, or None for any.
    """
    directory = Path(directory)
    config = read_config(directory)
    for name, expected in (("algorithm", algorithm), ("env", env_id)):
        if expected not in (None, config[name]):
            raise ValueError(
                f"Expected `{name}` {config[name]} to continue {directory}. "
                f"Received: {expected}"
            )
    if "overrides" not in config:
        raise ValueError(
            f"Expected a run with checkpoints. Received: {directory}, which an earlier "
            "version made. Start a new run."
        )
    _algorithms.check_name(config["algorithm"])
    check_directory("RUN", directory)
    run({**DEFAULTS, **config}, lambda: directory, steps, resumed=directory)
