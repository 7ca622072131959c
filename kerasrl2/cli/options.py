"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from kerasrl2.cli.arguments import LARGEST, whole

EPISODES, THREADS = 10**7, 1024


def count(help, high=2**63 - 1):
    """An option that takes an integer of at least 1."""
    return typer.Option(parser=whole(1, high), help=help)


AlgorithmArgument = Annotated[str, typer.Argument(help="For instance ppo.")]
EnvArgument = Annotated[str, typer.Argument(help="For instance CartPole-v1.")]
RunArgument = Annotated[Path, typer.Argument(help="A run directory.")]
AgentArgument = Annotated[
    Path, typer.Argument(help="A run directory, or an agent's file.")
]
KeywordsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env", metavar="NAME=VALUE",
        help="A keyword of the environment, such as is_slippery=false; repeatable.",
    ),
]  # fmt: skip
EnvOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env", metavar="ENV or NAME=VALUE",
        help="Another environment than the run's, or one of its keywords; repeatable.",
    ),
]  # fmt: skip
WrapperOption = Annotated[
    list[str] | None,
    typer.Option(
        "--wrapper", metavar="NAME[:KEYWORD=VALUE,...]",
        help="A wrapper of Gymnasium or MODULE:NAME; repeatable, the innermost first.",
    ),
]  # fmt: skip
BestOption = Annotated[
    bool, typer.Option("--best", help="The run's best agent, not its last.")
]
SeedOption = Annotated[
    int | None,
    typer.Option(parser=whole(0, LARGEST), help="Seed of all random numbers."),
]
BackendOption = Annotated[
    str, typer.Option(help="Environments: auto, tensorflow or gymnasium.")
]
VectorizationOption = Annotated[
    str | None, typer.Option(help="sync, async or entry-point.")
]
