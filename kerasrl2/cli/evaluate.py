"""`kerasrl2 evaluate`."""

from kerasrl2.cli.printing import say
from kerasrl2.cli.trained import trained
from kerasrl2.cli.worlds import changed_world, label


def evaluate(
    run,
    episodes,
    seed,
    greedy,
    max_episode_steps=None,
    env=None,
    wrappers=None,
    best=False,
):
    """Prints the returns of the agent of a run, or of a file."""
    agent, config = trained(run, best)
    world = changed_world(run, config, env, wrappers)
    from kerasrl2 import envs
    from kerasrl2._lines import figure
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
    which = f", best agent ({int(agent.env_steps):,} steps)" if best else ""
    names = "return", "return_std", "return_min", "return_max", "episode_length"
    mean, deviation, least, most, length = (figure(scores[name]) for name in names)
    say(
        f"{algorithm} on {label(world)}{which}: return {mean} +- {deviation} (min "
        f"{least}, max {most}), episode length {length}, {scores['episodes']} episodes"
    )
