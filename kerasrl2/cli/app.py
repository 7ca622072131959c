"""Commands and their arguments. Heavy modules are imported by the command that runs."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kerasrl2 import __version__
from kerasrl2.cli.arguments import LARGEST, number, several, whole
from kerasrl2.cli.configuration import DEFAULTS
from kerasrl2.cli.examples import CommandWithAlgorithms, GroupWithAlgorithms, examples
from kerasrl2.cli.failures import EXIT_USAGE, plain_failures
from kerasrl2.cli.options import (
    EPISODES,
    THREADS,
    AgentArgument,
    AlgorithmArgument,
    BackendOption,
    BestOption,
    EnvArgument,
    EnvOption,
    KeywordsOption,
    RunArgument,
    SeedOption,
    VectorizationOption,
    WrapperOption,
    count,
)
from kerasrl2.cli.values import parse_assignments
from kerasrl2.cli.worlds import parse_env_keywords

app = typer.Typer(
    cls=GroupWithAlgorithms,
    help="Reinforcement learning for people who know Keras.",
    epilog=examples(),
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=CommandWithAlgorithms, epilog=examples("train"))
def train(
    algorithm: AlgorithmArgument,
    env: EnvArgument,
    steps: Annotated[int | None, count("Env steps; default: the tuned number.")] = None,
    seed: SeedOption = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            parser=several,
            metavar="1-5",
            help="A run for each of these seeds, each in a process of its own.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, count("Runs at the same time, with --seeds; default: 1.", THREADS)
    ] = None,
    num_envs: Annotated[
        int | None, count("Parallel copies of the environment.", LARGEST)
    ] = None,
    backend: BackendOption = "auto",
    keywords: KeywordsOption = None,
    wrappers: WrapperOption = None,
    vectorization: VectorizationOption = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of the agent; repeatable."
        ),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Default: the next free one under runs/.")
    ] = None,
    reports: Annotated[int, count("Number of evaluations and reports.")] = (
        DEFAULTS["reports"]
    ),
    eval_episodes: Annotated[int, count("Episodes of each evaluation.", EPISODES)] = (
        DEFAULTS["eval_episodes"]
    ),
    stop_at: Annotated[
        float | None,
        typer.Option(
            parser=number, help="Stop once an evaluation reaches this return."
        ),
    ] = None,
    threads: Annotated[
        int | None, count("Default: by the network's size.", THREADS)
    ] = None,
    checkpoint_every: Annotated[
        int | None, count("Env steps; default: at each report.")
    ] = None,
    buffer: Annotated[
        bool, typer.Option(help="Keep the replay buffer in checkpoints.")
    ] = True,
    workers: Annotated[
        int | None, count("Processes that play, over Ray; default: none.", THREADS)
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="A Ray cluster, auto or HOST:PORT; default: this machine."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --run-dir, if any.")
    ] = False,
):
    """Trains an agent; leaves it, its metrics and a learning curve in a directory."""
    with plain_failures():
        from kerasrl2.cli.seeds import train_each
        from kerasrl2.cli.train import train as run

        if seeds is not None or jobs is not None:
            run = partial(train_each, seeds=seeds, jobs=jobs)
        run(
            algorithm,
            env,
            steps=steps,
            seed=seed,
            num_envs=num_envs,
            backend=backend,
            env_keywords=parse_env_keywords(keywords),
            wrappers=wrappers or [],
            vectorization=vectorization,
            overrides=parse_assignments(assignments or []),
            run_dir=run_dir,
            reports=reports,
            eval_episodes=eval_episodes,
            stop_at=stop_at,
            threads=threads,
            checkpoint_every=checkpoint_every,
            buffer=buffer,
            workers=workers,
            address=address,
            resume=resume,
        )


@app.command(epilog=examples("resume"))
def resume(
    run: RunArgument,
    steps: Annotated[
        int | None, count("Env steps in total; default: those of the run.")
    ] = None,
):
    """Continues a run from its newest undamaged checkpoint."""
    with plain_failures():
        from kerasrl2.cli.train import continue_run

        continue_run(run, steps)


@app.command(epilog=examples("evaluate"))
def evaluate(
    run: AgentArgument,
    episodes: Annotated[int, count("Whole episodes.", EPISODES)] = 20,
    seed: Annotated[int, typer.Option(parser=whole(0))] = 0,
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample actions, not the policy's mode.")
    ] = False,
    max_episode_steps: Annotated[
        int | None, count("A longer episode is an error.", LARGEST)
    ] = None,
    env: EnvOption = None,
    wrappers: WrapperOption = None,
    best: BestOption = False,
):
    """Plays whole episodes with the agent of a run."""
    with plain_failures():
        from kerasrl2.cli.evaluate import evaluate as play

        play(
            run,
            episodes=episodes,
            seed=seed,
            greedy=not sample,
            max_episode_steps=max_episode_steps,
            env=env,
            wrappers=wrappers,
            best=best,
        )


@app.command(epilog=examples("record"))
def record(
    run: AgentArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help=".mp4, .gif or .webp; default: episode.mp4 in RUN."
        ),
    ] = None,
    env: EnvOption = None,
    wrappers: WrapperOption = None,
    episodes: Annotated[int, count("Shown one after another.", EPISODES)] = 1,
    seed: Annotated[int, typer.Option(parser=whole(0, LARGEST))] = 0,
    fps: Annotated[int, count("Images per second.", 1_000)] = 30,
    max_steps: Annotated[int, count("Longer episodes are cut.", LARGEST)] = 5_000,
    backend: BackendOption = "auto",
    best: BestOption = False,
):
    """Records episodes of a trained agent as a video."""
    with plain_failures():
        from kerasrl2.cli.record import record as run_recording

        run_recording(
            run,
            output,
            env,
            wrappers,
            episodes=episodes,
            seed=seed,
            fps=fps,
            max_steps=max_steps,
            backend=backend,
            best=best,
        )


@app.command(epilog=examples("export"))
def export(
    run: AgentArgument,
    format: Annotated[
        str, typer.Option("-f", "--format", help="saved_model, tflite or onnx.")
    ] = "saved_model",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Default: saved_model, policy.tflite, ... in RUN."
        ),
    ] = None,
    best: BestOption = False,
):
    """Writes a trained policy for TensorFlow Serving, LiteRT or ONNX Runtime."""
    with plain_failures():
        from kerasrl2.cli.export import export as write

        write(run, format, output, best)


@app.command(epilog=examples("check"))
def check(
    env: Annotated[
        str,
        typer.Argument(help="An id, MODULE:NAME of a callable, or a run directory."),
    ],
    keywords: KeywordsOption = None,
    wrappers: WrapperOption = None,
    steps: Annotated[int, count("Steps of random play.")] = 1_000,
    seed: Annotated[int, typer.Option(parser=whole(0, LARGEST))] = 0,
):
    """Looks for faults of an environment and says how to fix each."""
    with plain_failures():
        from kerasrl2.cli.check import check as run

        run(env, steps, seed, keywords, wrappers)


@app.command("list", epilog=examples("list"))
def list_(
    what: Annotated[
        str, typer.Argument(help="algorithms, environments or settings.")
    ] = "algorithms",
    algorithm: Annotated[str | None, typer.Argument(help="For settings.")] = None,
    env: Annotated[
        str | None, typer.Argument(help="For settings tuned for this one.")
    ] = None,
):
    """Lists algorithms, environments, or an algorithm's settings: what they mean."""
    with plain_failures():
        from kerasrl2.cli.listing import show

        show(what, algorithm, env)


@app.callback(invoke_without_command=True)
def _no_command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
):
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        text = context.get_help()  # empty where typer prints by itself
        if text:
            typer.echo(text)
        typer.echo(
            "Error: Expected a command, such as `kerasrl2 train ppo CartPole-v1`. "
            "Received: none.",
            err=True,
        )
        raise typer.Exit(EXIT_USAGE)
