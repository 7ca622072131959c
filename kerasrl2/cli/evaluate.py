"""`kerasrl2 evaluate`."""

from pathlib import Path

import typer

from kerasrl2.cli.runs import read_config


def evaluate(run, episodes, seed, greedy):
    """Prints the returns of the agent of a run."""
    config = read_config(run)
    import kerasrl2 as krl

    agent = krl.load_agent(Path(run) / "agent.keras")
    env = krl.envs.make(
        config["env"],
        num_envs=min(episodes, 32),
        backend=config.get("backend", "auto"),
    )
    scores = agent.evaluate(env, episodes, greedy=greedy, seed=seed)
    env.close()
    typer.echo(
        f"{config['algorithm']} on {config['env']}: return {scores['return']:.2f} "
        f"+- {scores['return_std']:.2f} (min {scores['return_min']:.2f}, max "
        f"{scores['return_max']:.2f}), episode length {scores['episode_length']:.1f}, "
        f"{scores['episodes']} episodes"
    )
