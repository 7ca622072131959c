"""A run from its configuration to its results, for `train` and `resume`."""

import contextlib
import gc
import time

import typer

from kerasrl2 import __version__, zoo
from kerasrl2.cli import machine
from kerasrl2.cli.configuration import replace_text, write_config
from kerasrl2.cli.printing import say
from kerasrl2.cli.runs import BEST, LAST, results_in
from kerasrl2.cli.values import check_kinds
from kerasrl2.cli.worlds import label, world

STARTED = time.perf_counter()


def run(config, make_directory, steps=None, resumed=None):
    """Runs what a configuration says, in the directory that `make_directory` makes.

    Until training begins nothing is written: a run that is refused stays as it was.

    Args:
        config: Dictionary, all keys of `config.yaml` but `settings` and `version`.
        make_directory: Callable that returns a path.
        steps: Integer or None, env steps in all instead of those of `config`.
        resumed: Path of the run to continue, or None for a new one.
    """
    machine.use_compilation_cache()
    gc.disable()  # importing and tracing make objects that stay: see `_phases`
    from kerasrl2 import callbacks
    from kerasrl2.cli.best import KeepBest, save_whole
    from kerasrl2.cli.environments import implied

    moments, begun = [], []
    agent, env, validation, settings, budget = _made(config, steps, resumed, moments)
    directory = make_directory()
    checkpoint = callbacks.TrainingCheckpoint(
        directory / "checkpoints", config["checkpoint_every"], buffer=config["buffer"]
    )
    written = {**config, "steps": budget, "settings": settings, "version": __version__}

    def begin(logs):
        _check_steps(steps, config["steps"], checkpoint.found)
        if resumed is not None:
            _drop_later_rows(directory / "metrics.csv", checkpoint.found)
        write_config(directory, **written)
        say(_title(written, env, directory))
        if (line := implied(world(config))) is not None:
            say(line)
        begun.append(True)

    writers, workers = _writers(directory, written), _workers(config)
    keeper = KeepBest(directory, config["eval_episodes"])
    try:
        interrupted = _fit(
            agent, directory, writers, begun,
            env=env,
            steps=budget,
            epochs=min(config["reports"], _iterations(agent, env, budget, workers)),
            callbacks=[
                *_callbacks(config, begin, moments), keeper, *writers, checkpoint,
            ],
            validation_env=validation,
            validation_episodes=config["eval_episodes"],
            resume=resumed is not None,
            workers=workers,
        )  # fmt: skip
    finally:
        agent.close()
        if begun:
            save_whole(agent, directory / LAST)
            with contextlib.suppress(ValueError, FileNotFoundError):  # no epoch ended
                _plot(directory, f"{config['algorithm']} on {label(config)}")
        elif resumed is None:
            with contextlib.suppress(OSError):
                directory.rmdir()
        env.close()
        validation.close()
    _summary(directory, agent, checkpoint, keeper)
    if interrupted is not None:
        code = interrupted.code if isinstance(interrupted, SystemExit) else 130
        raise typer.Exit(code)


def _made(config, steps, resumed, moments):
    """What can be made before there is a directory: all that may be refused.

    Returns:
        `(agent, env, validation environment, settings, env steps in all)`.
    """
    from kerasrl2 import agents, envs
    from kerasrl2.agents.loading import check_saved_class
    from kerasrl2.cli.environments import options_of, recipe
    from kerasrl2.zoo.build import tuned_agent

    algorithm, env_id = config["algorithm"], config["env"]
    overrides = config["overrides"]
    agent_class = agents.algorithm(algorithm)
    check_kinds(overrides, agent_class)
    if resumed is not None:
        check_saved_class(resumed / LAST, agent_class)
    env = recipe(env_id, without=resumed)
    how = options_of(world(config), without=resumed)
    moments.append(time.perf_counter())
    settings = {**zoo.settings(algorithm, env_id), **overrides}
    settings.pop("steps", None)
    machine.set_threads(config["threads"] or machine.threads_for(settings))
    steps = steps or config["steps"]
    agent, made, budget = tuned_agent(
        algorithm, env, steps, config["seed"], overrides=overrides, **how
    )
    copies = min(config["eval_episodes"], 32)
    validation = envs.make(env, num_envs=copies, **how)
    agent.loop_on(made, workers=_workers(config))  # the rest of what can be refused
    return agent, made, validation, settings, budget


def _fit(agent, directory, writers, begun, **options):
    """Trains; returns the interruption that ended it once it had begun, or None."""
    try:
        agent.fit(**options)
    except BaseException as error:
        for writer in writers:
            with contextlib.suppress(AttributeError):  # it had not begun
                writer.on_train_end()
        if not begun or not isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        typer.echo(
            f"Interrupted at {int(agent.env_steps):,} steps. To continue: "
            f"kerasrl2 resume {directory}",
            err=True,
        )
        return error
    return None


def _iterations(agent, env, steps, workers):
    """How many iterations of the loop there are at most, and so reports."""
    return -(-steps // agent.loop_on(env, workers=workers).steps_per_iteration)


def _workers(config):
    """`distributed.Workers` of a configuration, or None."""
    from kerasrl2.distributed import Workers, cluster

    if config["workers"] is None:
        return None
    cluster.check_installed()
    return Workers(config["workers"], config["address"])


def _check_steps(steps, before, found):
    """Raises if a run shall end where it was already, unless it always did."""
    played = found.manifest["env_steps"] if found else 0
    if steps is not None and steps < min(played, before or played):
        raise ValueError(
            f"Expected `--steps` of at least the {played:,} that the run has made: it "
            f"counts them all. Received: {steps:,}"
        )


def _title(config, env, directory):
    kind = "TensorFlow" if env.in_graph else "Gymnasium"
    copies = "environment" if env.num_envs == 1 else "environments"
    return (
        f"{config['algorithm']} on {label(config)} ({env.num_envs} {kind} {copies}), "
        f"{config['steps']:,} steps, seed {config['seed']}, to {directory}"
    )


def _drop_later_rows(path, found):
    """Leaves those rows of the metrics that a checkpoint knows of."""
    if path.exists():
        known = len(found.manifest["progress"]["epoch_numbers"]) if found else -1
        rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        replace_text(path, "".join(rows[: known + 1]))


def _callbacks(config, begin, moments):
    import keras

    from kerasrl2.callbacks import StopAtReturn

    stop_at = config["stop_at"]
    return [
        keras.callbacks.LambdaCallback(on_train_begin=begin),
        _phases(moments),
        *([] if stop_at is None else [StopAtReturn(stop_at)]),
    ]


def _phases(times):
    """A callback that tells how long import, building and compilation took."""
    import keras

    def begin(logs):
        times.append(time.perf_counter())

    def compiled(epoch, logs):
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
            now = time.perf_counter()
            moments = [STARTED, *times, now]
            names = ("import", "build", "compilation")
            spans = zip(names, moments[1:], moments, strict=False)
            typer.echo(", ".join(f"{n} {b - a:.1f} s" for n, b, a in spans))

    return keras.callbacks.LambdaCallback(on_train_begin=begin, on_epoch_begin=compiled)


def _writers(directory, config):
    import keras

    from kerasrl2.callbacks import TensorBoard

    names = "algorithm", "env", "backend", "steps", "seed"
    shown = {**config["settings"], **{name: config[name] for name in names}}
    shown |= {f"env.{name}": value for name, value in config["env_keywords"].items()}
    if config["wrappers"]:
        shown["wrappers"] = config["wrappers"]
    return [
        keras.callbacks.CSVLogger(str(directory / "metrics.csv"), append=True),
        TensorBoard(directory, shown),
    ]


def _plot(directory, title):
    from kerasrl2.plotting import plot_learning_curves, read_metrics

    runs = {title: [read_metrics(directory)]}
    plot_learning_curves(runs, directory / "learning_curve.png", title)


def _summary(directory, agent, checkpoint, keeper):
    from kerasrl2._lines import figure

    parts = [f"{int(agent.env_steps):,} steps in {time.perf_counter() - STARTED:.1f} s"]
    written = [report for report in checkpoint.store.reports if "bytes" in report]
    if written:
        size = written[-1]["bytes"] / 1e6
        waited = sum(report["blocked"] for report in written)
        parts.append(
            f"{len(written)} checkpoints, {size:,.1f} MB, waited {waited:.1f} s"
        )
    say("; ".join(parts))
    best, remarks = keeper.best, {}
    if best is None:
        say(f"no evaluation: the run ended before its first report, without {BEST}")
    else:
        found = f"{figure(best['return'])} at {best['env_steps']:,} steps"
        remarks = {LAST: " (the last)", BEST: f" (return {found})"}
        if keeper.count:
            say(
                f"evaluation {figure(keeper.latest)}, best {found}; {keeper.count} "
                f"evaluations took {keeper.seconds:.1f} s"
            )
    names = [name + remarks.get(name, "") for name in results_in(directory)]
    say(f"saved {', '.join(names)} in {directory}")
