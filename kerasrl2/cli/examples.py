"""What `--help` shows below the options: algorithms, and examples of each command."""

from typer.core import TyperCommand, TyperGroup

from kerasrl2 import _algorithms

_EXAMPLES = {
    "train": [
        "train ppo CartPole-v1 --seed 1",
        "train dqn FrozenLake-v1 --env is_slippery=false --env map_name=8x8",
        "train a2c Acrobot-v1 --wrapper TimeAwareObservation --set gamma=0.98",
        "train ppo my_module:Mine-v0 --num-envs 16 --vectorization async",
        "train sac Pendulum-v1 --seeds 1-5 --jobs 2",
        "train apex CartPole-v1 --workers 8 --address auto",
    ],
    "resume": ["resume runs/ppo-CartPole-v1-1 --steps 400000"],
    "evaluate": [
        "evaluate runs/ppo-CartPole-v1-1 --best --episodes 100",
        "evaluate agent.keras --env FrozenLake-v1 --env map_name=8x8",
    ],
    "tune": [
        "tune ppo LunarLander-v3 --trials 50 --jobs 2 --steps 100000",
        "tune dqn CartPole-v1 --set double=true --set 'hidden=[128, 128]'",
    ],
    "report": ["report runs/ppo-CartPole-v1-* runs/a2c-CartPole-v1-* -o profiles.png"],
    "plot": ["plot runs/ppo-CartPole-v1-* runs/a2c-CartPole-v1-* -o comparison.png"],
    "record": ["record runs/ppo-CartPole-v1-1 --best --output cartpole.gif"],
    "export": ["export runs/ppo-CartPole-v1-1 --format tflite -o cartpole.tflite"],
    "check": ["check my_module:MyEnvironment --steps 5000"],
    "list": ["list algorithms", "list environments", "list settings ppo CartPole-v1"],
}


def examples(command=None):
    """Examples of a command for the end of its help, a paragraph each.

    Args:
        command: String, or None for the first example of each command.
    """
    lines = _EXAMPLES.get(command) or [first for first, *_ in _EXAMPLES.values()]
    lines = [f"kerasrl2 {line}" for line in lines]
    return "\n\n".join(["Examples:" if len(lines) > 1 else "Example:", *lines])


class _NamesAlgorithms:
    """Mixin: the help names the algorithms, which are looked for when it is asked."""

    def get_help(self, ctx):
        names = f"Algorithms: {', '.join(_algorithms.names())}"
        if names not in self.epilog:
            self.epilog = f"{names}\n\n{self.epilog}"
        return super().get_help(ctx)


class CommandWithAlgorithms(_NamesAlgorithms, TyperCommand):
    """A command whose help names the algorithms."""


class GroupWithAlgorithms(_NamesAlgorithms, TyperGroup):
    """All commands, with a help that names the algorithms."""
