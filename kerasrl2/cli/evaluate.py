"""`kerasrl2 evaluate`."""

from pathlib import Path

import typer

from kerasrl2.cli.configuration import read_config


def evaluate(run, episodes, seed, greedy, max_episode_steps=None):
    """Prints the returns of the agent of a run."""
    config = read_config(run)
    import kerasrl2 as krl
    from kerasrl2.agents.loading import check_saved_class
    from kerasrl2.cli.environments import recipe

    path = Path(run) / "agent.keras"
    check_saved_class(path, krl.agents.algorithm(config["algorithm"]))
    agent = krl.load_agent(path)
    env = krl.envs.make(
        recipe(config["env"], without=run),
        num_envs=min(episodes, 32),
        backend=config.get("backend", "auto"),
    )
    limit = {"max_episode_steps": max_episode_steps}
    limit = {} if max_episode_steps is None else limit
    try:
        scores = agent.evaluate(env, episodes, greedy=greedy, seed=seed, **limit)
    finally:
        env.close()
    typer.echo(
        f"{config['algorithm']} on {config['env']}: return {scores['return']:.2f} "
        f"+- {scores['return_std']:.2f} (min {scores['return_min']:.2f}, max "
        f"{scores['return_max']:.2f}), episode length {scores['episode_length']:.1f}, "
        f"{scores['episodes']} episodes"
    )
