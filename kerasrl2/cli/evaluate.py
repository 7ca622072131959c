"""`kerasrl2 evaluate`."""

import typer

from kerasrl2.cli.trained import trained
from kerasrl2.cli.worlds import changed_world, label


def evaluate(
    run, episodes, seed, greedy, max_episode_steps=None, env=None, wrappers=None
):
    """Prints the returns of the agent of a run, or of a file."""
    agent, config = trained(run)
    world = changed_world(run, config, env, wrappers)
    from kerasrl2 import envs
    from kerasrl2.cli.environments import options_of, recipe

    made = envs.make(
        recipe(world["env"], without=run),
        num_envs=min(episodes, 32),
        **options_of(world, without=run),
    )
    limit = {"max_episode_steps": max_episode_steps}
    limit = {} if max_episode_steps is None else limit
    try:
        scores = agent.evaluate(made, episodes, greedy=greedy, seed=seed, **limit)
    finally:
        made.close()
    algorithm = config.get("algorithm", type(agent).__name__)
    typer.echo(
        f"{algorithm} on {label(world)}: return {scores['return']:.2f} "
        f"+- {scores['return_std']:.2f} (min {scores['return_min']:.2f}, max "
        f"{scores['return_max']:.2f}), episode length {scores['episode_length']:.1f}, "
        f"{scores['episodes']} episodes"
    )
