"""Commands and their arguments. Heavy modules are imported by the command that runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kerasrl2 import __version__
from kerasrl2.cli.failures import plain_failures
from kerasrl2.cli.values import parse_assignments

app = typer.Typer(
    help="Reinforcement learning for people who know Keras.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunArgument = Annotated[Path, typer.Argument(help="A run directory.")]
SeedOption = Annotated[
    int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of all random numbers.")
]


@app.command()
def train(
    algorithm: Annotated[str, typer.Argument(help="For instance ppo.")],
    env: Annotated[str, typer.Argument(help="For instance CartPole-v1.")],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Env steps; default: the tuned number.")
    ] = None,
    seed: SeedOption = None,
    num_envs: Annotated[
        int | None, typer.Option(min=1, help="Parallel copies of the environment.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="Environments: auto, tensorflow or gymnasium.")
    ] = "auto",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of the agent; repeatable."
        ),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Default: the next free one under runs/.")
    ] = None,
    reports: Annotated[
        int, typer.Option(min=1, help="Number of evaluations and reports.")
    ] = 10,
    eval_episodes: Annotated[
        int, typer.Option(min=1, help="Episodes of each evaluation.")
    ] = 20,
    stop_at: Annotated[
        float | None, typer.Option(help="Stop once an evaluation reaches this return.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Default: by the network's size.")
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(min=1, help="Env steps; default: at each report.")
    ] = None,
    buffer: Annotated[
        bool, typer.Option(help="Keep the replay buffer in checkpoints.")
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --run-dir, if any.")
    ] = False,
):
    """Trains an agent; leaves it, its metrics and a learning curve in a directory."""
    with plain_failures():
        from kerasrl2.cli.train import train as run

        run(
            algorithm,
            env,
            steps=steps,
            seed=seed,
            num_envs=num_envs,
            backend=backend,
            overrides=parse_assignments(assignments or []),
            run_dir=run_dir,
            reports=reports,
            eval_episodes=eval_episodes,
            stop_at=stop_at,
            threads=threads,
            checkpoint_every=checkpoint_every,
            buffer=buffer,
            resume=resume,
        )


@app.command()
def resume(
    run: RunArgument,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Env steps in total; default: those of the run."),
    ] = None,
):
    """Continues a run from its newest undamaged checkpoint."""
    with plain_failures():
        from kerasrl2.cli.train import continue_run

        continue_run(run, steps)


@app.command()
def evaluate(
    run: RunArgument,
    episodes: Annotated[int, typer.Option(min=1)] = 20,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample actions, not the policy's mode.")
    ] = False,
):
    """Plays whole episodes with the agent of a run."""
    with plain_failures():
        from kerasrl2.cli.evaluate import evaluate as play

        play(run, episodes=episodes, seed=seed, greedy=not sample)


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Run directories.")],
    output: Annotated[Path, typer.Option("-o", "--output")] = Path(
        "learning_curve.png"
    ),
):
    """Draws learning curves: one per algorithm and environment, over their seeds."""
    with plain_failures():
        from kerasrl2.cli.plot import plot as draw

        draw(runs, output)


@app.command()
def check(
    env: Annotated[
        str, typer.Argument(help="An id, or MODULE:NAME of a callable that makes one.")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Steps of random play.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
):
    """Looks for faults of an environment and says how to fix each."""
    with plain_failures():
        from kerasrl2.cli.check import check as run

        run(env, steps=steps, seed=seed)


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="algorithms, environments or settings.")
    ] = "algorithms",
    algorithm: Annotated[str | None, typer.Argument(help="For settings.")] = None,
):
    """Lists algorithms, environments, or an algorithm's settings and tuned values."""
    with plain_failures():
        from kerasrl2.cli.listing import show

        show(what, algorithm)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
):
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main():
    """Entry point of the console script; prints usage errors as one line."""
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of click
            raise
        typer.echo(f"Error: {error.format_message()}", err=True)
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(code if isinstance(code, int) else 0)
