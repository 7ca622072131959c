"""Population-based training: the learning rate of PPO on CartPole finds itself.

    python examples/population.py [--steps N]

Prints the scores of each generation, who copied whom, and the schedule of learning
rates that the best member's weights were trained with.
"""

import argparse

import kerasrl2 as krl

ENV = "CartPole-v1"
STEPS, GENERATIONS, SIZE = 20_480, 10, 4  # steps of each member in all generations
RANGES = {"learning_rate": (1e-6, 1.0)}  # most of it learns nothing, or too fast


def main():
    """Trains a population and shows what it has found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    population = krl.populations.Population.of_agents(
        lambda seed: krl.agents.PPO.for_env(
            ENV,
            hidden=(32, 32),
            num_envs=4,
            rollout_length=128,
            batch_size=128,
            seed=seed,
        ),
        ENV,
        size=SIZE,
        ranges=RANGES,
        selection=krl.populations.TruncationSelection(0.25),
    )
    history = population.fit(
        GENERATIONS, max(1, steps // GENERATIONS), on_generation_end=show
    )
    best = population.best
    print("member, of whom, in generation:", history.copies())
    rates = history.schedule("learning_rate", best)
    print("learning rates of the best:", [f"{rate:.1e}" for rate in rates])
    agent = population.members[best].agent
    print("return:", agent.evaluate(ENV, episodes=20)["return"])


def show(population, row):
    """Prints the row of a generation."""
    scores = ", ".join(f"{score:.0f}" for score in row["score"])
    print(f"generation {population.generation}: {scores}")


if __name__ == "__main__":
    main()
