"""Commands that search settings and compare runs, and their arguments."""

from pathlib import Path
from typing import Annotated

import typer

from kerasrl2.cli.app import app
from kerasrl2.cli.arguments import number
from kerasrl2.cli.examples import examples
from kerasrl2.cli.failures import plain_failures
from kerasrl2.cli.options import (
    EPISODES,
    THREADS,
    AlgorithmArgument,
    BackendOption,
    EnvArgument,
    KeywordsOption,
    SeedOption,
    VectorizationOption,
    WrapperOption,
    count,
)
from kerasrl2.cli.values import parse_assignments
from kerasrl2.cli.worlds import parse_env_keywords


@app.command(epilog=examples("tune"))
def tune(
    algorithm: AlgorithmArgument,
    env: EnvArgument,
    trials: Annotated[int, count("Trials in all, with those of earlier calls.")] = 50,
    jobs: Annotated[int, count("Trials at once, a process each.", THREADS)] = 1,
    steps: Annotated[
        int | None, count("Env steps of a trial; default: the tuned number.")
    ] = None,
    seed: SeedOption = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting not to vary; repeatable."
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(help="A YAML file of the search space; default: the algorithm's."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(parser=number, help="Seconds after which no trial begins."),
    ] = None,
    pruner: Annotated[
        str, typer.Option(help="Of hopeless trials: median, hyperband or none.")
    ] = "median",
    reports: Annotated[
        int | None, count("Evaluations of a trial; default: 5.", EPISODES)
    ] = None,
    eval_episodes: Annotated[
        int | None, count("Episodes of each evaluation; default: 10.", EPISODES)
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="Directory; default: runs/tune-ALGO-ENV.")
    ] = None,
    backend: BackendOption = "auto",
    keywords: KeywordsOption = None,
    wrappers: WrapperOption = None,
    vectorization: VectorizationOption = None,
):
    """Searches an algorithm's settings with Optuna; writes the best and its command."""
    with plain_failures():
        from kerasrl2.cli.tune import tune as search

        search(
            algorithm,
            env,
            study,
            trials=trials,
            jobs=jobs,
            timeout=timeout,
            pruner=pruner,
            seed=seed,
            steps=steps,
            reports=reports,
            eval_episodes=eval_episodes,
            overrides=parse_assignments(assignments or []),
            space=space,
            backend=backend,
            env_keywords=parse_env_keywords(keywords),
            wrappers=wrappers or [],
            vectorization=vectorization,
        )


RunsArgument = Annotated[
    list[Path], typer.Argument(help="Run directories, or CSV files of metrics.")
]


@app.command(epilog=examples("plot"))
def plot(
    runs: RunsArgument,
    output: Annotated[Path, typer.Option("-o", "--output")] = Path(
        "learning_curve.png"
    ),
    statistic: Annotated[
        str, typer.Option(help="Over runs: mean, or iqm, the interquartile mean.")
    ] = "mean",
    interval: Annotated[
        str,
        typer.Option(
            metavar="range|SHARE",
            help="The band: from the least run to the greatest, or a bootstrap "
            "interval, such as 0.95.",
        ),
    ] = "range",
    returns: Annotated[
        str, typer.Option(help="evaluation, training or both.")
    ] = "both",
    smoothing: Annotated[int, count("Epochs to average over.")] = 1,
):
    """Draws learning curves: a panel per environment, a curve per algorithm."""
    with plain_failures():
        from kerasrl2.cli.plot import plot as draw

        draw(
            runs,
            output,
            interval,
            statistic=statistic,
            returns=returns,
            smoothing=smoothing,
        )


@app.command(epilog=examples("report"))
def report(
    runs: RunsArgument,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A picture of the performance profiles."),
    ] = None,
    score: Annotated[
        str,
        typer.Option(help="Of a run: last or best evaluation, or training return."),
    ] = "last",
):
    """Prints what algorithms reached over their runs, with 95 % intervals."""
    with plain_failures():
        from kerasrl2.cli.report import report as show

        show(runs, output, score)
