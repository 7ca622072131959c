"""`kerasrl2 train`."""

import contextlib
import gc
import secrets
import time
from pathlib import Path

import typer

from kerasrl2 import __version__, zoo
from kerasrl2._checks import check_choice
from kerasrl2.cli import machine
from kerasrl2.cli.runs import free_run_directory, read_config, write_config
from kerasrl2.cli.values import check_kinds

STARTED = time.perf_counter()


def train(
    algorithm,
    env_id,
    steps,
    seed,
    num_envs,
    backend,
    overrides,
    run_dir,
    reports,
    eval_episodes,
    stop_at,
    threads,
    checkpoint_every=None,
    buffer=True,
    resume=False,
):
    """Trains, evaluates, saves and plots; see `kerasrl2 train --help`."""
    check_choice("algorithm", algorithm, zoo.algorithms())
    check_choice("backend", backend, ["auto", "tensorflow", "gymnasium"])
    if resume and run_dir is None:
        raise ValueError("Expected `--run-dir` with `--resume`: the run to continue.")
    if resume and (run_dir / "config.yaml").exists():
        continue_run(run_dir, steps, algorithm, env_id)
        return
    if num_envs is not None:
        overrides = {**overrides, "num_envs": num_envs}
    config = {
        "algorithm": algorithm,
        "env": env_id,
        "backend": backend,
        "steps": steps,
        "seed": secrets.randbelow(2**31) if seed is None else seed,
        "overrides": overrides,
        "reports": reports,
        "eval_episodes": eval_episodes,
        "stop_at": stop_at,
        "threads": threads,
        "checkpoint_every": checkpoint_every,
        "buffer": buffer,
    }
    _run(config, lambda: free_run_directory(run_dir, algorithm, env_id), resume=False)


def continue_run(directory, steps=None, algorithm=None, env_id=None):
    """Continues the run in a directory; see `kerasrl2 resume --help`.

    Args:
        directory: Path.
        steps: Integer, env steps in total, or None for those of the run.
        algorithm: String, what the run's must be, or None for any.
        env_id: String, what the run's must be, or None for any.
    """
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
    if steps is not None:
        config["steps"] = steps
    _run(config, lambda: Path(directory), resume=True)


def _run(config, make_directory, resume):
    """Runs a configuration in the directory that `make_directory` returns."""
    algorithm, env_id = config["algorithm"], config["env"]
    overrides, backend = config["overrides"], config["backend"]
    machine.use_compilation_cache()
    gc.disable()  # importing and tracing make lasting objects: see `_phases`
    from kerasrl2 import agents, callbacks, envs
    from kerasrl2.zoo.build import tuned_agent

    check_kinds(overrides, agents.algorithm(algorithm))
    phases = [time.perf_counter()]
    settings = {**zoo.settings(algorithm, env_id), **overrides}
    settings.pop("steps", None)
    machine.set_threads(config["threads"] or machine.threads_for(settings))
    agent, env, budget = tuned_agent(
        algorithm, env_id, config["steps"], config["seed"], backend, overrides
    )
    loop = agent.loop_on(env)  # before the directory: this may fail
    directory = make_directory()
    config = {**config, "steps": budget, "settings": settings, "version": __version__}
    write_config(directory, **config)
    checkpoint = callbacks.TrainingCheckpoint(
        directory / "checkpoints", config["checkpoint_every"], buffer=config["buffer"]
    )
    if resume:
        _drop_later_rows(directory / "metrics.csv", checkpoint.store.find())
    kind = "TensorFlow" if env.in_graph else "Gymnasium"
    copies = "environment" if env.num_envs == 1 else "environments"
    typer.echo(
        f"{algorithm} on {env_id} ({env.num_envs} {kind} {copies}), "
        f"{budget:,} steps, seed {config['seed']}, to {directory}"
    )
    stop_at = config["stop_at"]
    stop_callbacks = [] if stop_at is None else [callbacks.StopAtReturn(stop_at)]
    episodes = config["eval_episodes"]
    validation = envs.make(env_id, num_envs=min(episodes, 32), backend=backend)
    interrupted = None
    try:
        agent.fit(
            env,
            steps=budget,
            epochs=min(config["reports"], -(-budget // loop.steps_per_iteration)),
            callbacks=[
                _phases(phases),
                *_writers(directory),
                *stop_callbacks,
                checkpoint,
            ],
            validation_env=validation,
            validation_episodes=episodes,
            resume=resume,
        )
    except (KeyboardInterrupt, SystemExit) as error:
        interrupted = error
        typer.echo(
            f"Interrupted at {int(agent.env_steps):,} steps. To continue: "
            f"kerasrl2 resume {directory}",
            err=True,
        )
    finally:
        agent.save(directory / "agent.keras")
        with contextlib.suppress(ValueError, FileNotFoundError):  # no epoch finished
            _plot(directory, f"{algorithm} on {env_id}")
        env.close()
        validation.close()
    _summary(directory, agent, checkpoint)
    if interrupted is not None:
        code = interrupted.code if isinstance(interrupted, SystemExit) else 130
        raise typer.Exit(code)


def _drop_later_rows(path, checkpoint):
    """Drops rows of the metrics that were written after a checkpoint, or all."""
    if path.exists():
        last = -1
        if checkpoint:
            last = len(checkpoint.manifest["progress"]["epoch_numbers"])
        rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(rows[: last + 1]), encoding="utf-8")


def _phases(times):
    """A callback that prints how long import, building and compilation took."""
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


def _writers(directory):
    import keras

    return [
        keras.callbacks.CSVLogger(str(directory / "metrics.csv"), append=True),
        keras.callbacks.TensorBoard(str(directory), write_graph=False),
    ]


def _plot(directory, title):
    from kerasrl2.plotting import plot_learning_curves, read_metrics

    runs = {title: [read_metrics(directory)]}
    plot_learning_curves(runs, directory / "learning_curve.png", title)


def _summary(directory, agent, checkpoint):
    from kerasrl2.plotting import read_metrics

    parts = [f"{int(agent.env_steps):,} steps in {time.perf_counter() - STARTED:.1f} s"]
    with contextlib.suppress(ValueError, FileNotFoundError):
        metrics = read_metrics(directory)
        best = metrics["val_return"].max()
        parts.append(f"evaluation {metrics['val_return'][-1]:.1f}, best {best:.1f}")
    written = [report for report in checkpoint.store.reports if "bytes" in report]
    if written:
        size = written[-1]["bytes"] / 1e6
        waited = sum(report["blocked"] for report in written)
        parts.append(
            f"{len(written)} checkpoints, {size:,.1f} MB, waited {waited:.1f} s"
        )
    typer.echo("; ".join(parts))
    typer.echo(f"saved {', '.join(sorted(_results(directory)))} in {directory}")


def _results(directory):
    return [path.name for path in Path(directory).iterdir() if path.is_file()]
