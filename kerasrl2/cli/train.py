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
from kerasrl2.cli.runs import free_run_directory, write_config
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
):
    """Trains, evaluates, saves and plots; see `kerasrl2 train --help`."""
    check_choice("algorithm", algorithm, zoo.algorithms())
    check_choice("backend", backend, ["auto", "tensorflow", "gymnasium"])
    machine.use_compilation_cache()
    gc.disable()  # importing and tracing make objects that stay: see `_Phases`
    from kerasrl2 import agents, callbacks, envs
    from kerasrl2.zoo.build import tuned_agent

    check_kinds(overrides, agents.ALGORITHMS[algorithm])
    phases = [time.perf_counter()]
    if num_envs is not None:
        overrides = {**overrides, "num_envs": num_envs}
    settings = {**zoo.settings(algorithm, env_id), **overrides}
    settings.pop("steps", None)
    machine.set_threads(threads or machine.threads_for(settings))
    seed = secrets.randbelow(2**31) if seed is None else seed
    agent, env, budget = tuned_agent(algorithm, env_id, steps, seed, backend, overrides)
    loop = agent.prepare(env)  # what cannot run leaves no directory behind
    directory = free_run_directory(run_dir, algorithm, env_id)
    write_config(
        directory,
        algorithm=algorithm,
        env=env_id,
        backend=backend,
        steps=budget,
        seed=seed,
        settings=settings,
        version=__version__,
    )
    kind = "TensorFlow" if env.in_graph else "Gymnasium"
    typer.echo(
        f"{algorithm} on {env_id} ({env.num_envs} {kind} environments), "
        f"{budget:,} steps, seed {seed}, to {directory}"
    )
    stops = [] if stop_at is None else [callbacks.StopAtReturn(stop_at)]
    validation = envs.make(env_id, num_envs=min(eval_episodes, 32), backend=backend)
    interrupted = False
    try:
        agent.fit(
            env,
            steps=budget,
            epochs=min(reports, -(-budget // loop.steps_per_iteration)),
            callbacks=[_phases(phases), *_writers(directory), *stops],
            validation_env=validation,
            validation_episodes=eval_episodes,
        )
    except KeyboardInterrupt:
        interrupted = True
        typer.echo(f"Interrupted at {int(agent.env_steps):,} steps.", err=True)
    finally:
        agent.save(directory / "agent.keras")
        with contextlib.suppress(ValueError, FileNotFoundError):  # no epoch finished
            _plot(directory, f"{algorithm} on {env_id}")
        env.close()
        validation.close()
    _summary(directory, agent)
    if interrupted:
        raise typer.Exit(130)


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


def _writers(directory):
    import keras

    return [
        keras.callbacks.CSVLogger(str(directory / "metrics.csv")),
        keras.callbacks.TensorBoard(str(directory), write_graph=False),
    ]


def _plot(directory, title):
    from kerasrl2.plotting import plot_learning_curves, read_metrics

    runs = {title: [read_metrics(directory)]}
    plot_learning_curves(runs, directory / "learning_curve.png", title)


def _summary(directory, agent):
    from kerasrl2.plotting import read_metrics

    with contextlib.suppress(ValueError, FileNotFoundError):
        metrics = read_metrics(directory)
        best = metrics["val_return"].max()
        typer.echo(
            f"{int(agent.env_steps):,} steps in {time.perf_counter() - STARTED:.1f} s; "
            f"evaluation {metrics['val_return'][-1]:.1f}, best {best:.1f}"
        )
    typer.echo(f"saved {', '.join(sorted(_results(directory)))} in {directory}")


def _results(directory):
    return [path.name for path in Path(directory).iterdir() if path.is_file()]
