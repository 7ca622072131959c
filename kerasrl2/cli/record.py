"""`kerasrl2 record`."""

from kerasrl2.cli.paths import check_file
from kerasrl2.cli.printing import say
from kerasrl2.cli.trained import beside, trained
from kerasrl2.cli.worlds import changed_world, label, of_one


def record(run, output, env, wrappers, backend, best=False, **options):
    """Saves episodes of a trained agent as a video.

    Args:
        run: Path of a run directory or of a file that `agent.save` wrote.
        output: Path, or None for `episode.mp4` in the run or beside the file.
        env: List of strings or None, another environment than the run's, and keywords.
        wrappers: List of strings or None, instead of the run's.
        backend: String, as in `callbacks.record_video`; `"auto"` is the run's.
        best: Boolean, the run's best agent instead of its last.
        **options: Others of `callbacks.record_video`.
    """
    path = beside(run, "episode.mp4") if output is None else output
    check_file("--output", path)
    agent, config = trained(run, best)
    world = of_one(changed_world(run, config, env, wrappers))
    if backend != "auto":
        world["backend"] = backend
    from kerasrl2._lines import figure
    from kerasrl2.callbacks import record_video
    from kerasrl2.cli.environments import named, options_of

    returns, path = record_video(
        agent,
        named(world["env"], without=run),
        path,
        **options_of(world, without=run),
        **options,
    )
    played = ", ".join(figure(value) for value in returns)
    say(f"{label(world)}: return {played}; wrote {path}")
