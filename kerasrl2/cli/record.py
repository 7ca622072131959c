"""`kerasrl2 record`."""

import typer

from kerasrl2.cli.paths import check_file
from kerasrl2.cli.trained import beside, trained, world_of


def record(run, output, env, backend, **settings):
    """Saves episodes of a trained agent as a video.

    Args:
        run: Path of a run directory or of a file that `agent.save` wrote.
        output: Path, or None for `episode.mp4` in the run or beside the file.
        env: String, another environment than the run's, or None.
        backend: String, as in `callbacks.record_video`; `"auto"` is the run's.
        **settings: Others of `callbacks.record_video`.
    """
    path = beside(run, "episode.mp4") if output is None else output
    check_file("--output", path)
    agent, config = trained(run)
    name = world_of(run, config, env)
    if backend == "auto" and env is None:
        backend = config.get("backend", "auto")
    from kerasrl2.callbacks import record_video
    from kerasrl2.cli.environments import named

    returns, path = record_video(
        agent, named(name, without=run), path, backend=backend, **settings
    )
    played = ", ".join(f"{value:.2f}" for value in returns)
    typer.echo(f"{name}: return {played}; wrote {path}")
