"""Trained agents as the command line names them: by a run, or by a file."""

from pathlib import Path

from kerasrl2.cli.configuration import read_config


def trained(run):
    """The agent of a run directory or of a file.

    Args:
        run: Path of a directory that `kerasrl2 train` made, or of a file that
            `agent.save` wrote.

    Returns:
        `(agent, config)`: the latter is the run's, and empty for a file.

    Raises:
        FileNotFoundError: There is neither.
        ValueError: It holds something else.
    """
    run = Path(run)
    config = {} if run.is_file() else read_config(run)
    import kerasrl2 as krl
    from kerasrl2.agents.loading import check_saved_class

    if not config:
        return krl.load_agent(run), config
    path = run / "agent.keras"
    check_saved_class(path, krl.agents.algorithm(config["algorithm"]))
    return krl.load_agent(path), config


def beside(run, name):
    """The path of what is made of an agent: in its run, or beside its file."""
    run = Path(run)
    return run.with_name(f"{run.stem}-{name}") if run.is_file() else run / name
