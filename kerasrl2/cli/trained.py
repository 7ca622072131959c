"""Trained agents as the command line names them: by a run, or by a file."""

from pathlib import Path

from kerasrl2.cli.configuration import read_config
from kerasrl2.cli.runs import BEST, LAST


def trained(run, best=False):
    """The agent of a run directory or of a file.

    Args:
        run: Path of a directory that `kerasrl2 train` made, or of a file that
            `agent.save` wrote.
        best: Boolean, of a run: the best agent by its evaluations, not the last.

    Returns:
        `(agent, config)`: the latter is the run's, and empty for a file.

    Raises:
        FileNotFoundError: There is neither.
        ValueError: It holds something else, or no best agent.
    """
    run = Path(run)
    config = {} if run.is_file() else read_config(run)
    if best:
        _check_best(run)
    import kerasrl2 as krl
    from kerasrl2.agents.loading import check_saved_class

    if not config:
        return krl.load_agent(run), config
    path = run / (BEST if best else LAST)
    check_saved_class(path, krl.agents.algorithm(config["algorithm"]))
    return krl.load_agent(path), config


def _check_best(run):
    if run.is_file():
        raise ValueError(
            f"Expected a run directory with `--best`. Received: {run}, a file, which "
            "holds one agent. Leave `--best` out."
        )
    if not (run / BEST).is_file():
        raise ValueError(
            f"Expected a run whose agent was evaluated while it was trained. Received: "
            f"{run} without {BEST}: it ended before its first report, or an earlier "
            "version made it. Leave `--best` out for the last agent, or continue the "
            f"run: `kerasrl2 resume {run}`."
        )


def beside(run, name):
    """The path of what is made of an agent: in its run, or beside its file."""
    run = Path(run)
    return run.with_name(f"{run.stem}-{name}") if run.is_file() else run / name
