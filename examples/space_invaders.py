"""Space Invaders from pixels: dueling double DQN with prioritized replay.

    python examples/space_invaders.py [--steps N]

Frames are stored once, at 7 kB each, and stacked by four when they are drawn. Leaves a
moving picture of a greedy game every hundred games in `pictures`, scalars for
TensorBoard in `logs` (`tensorboard --logdir logs`), and `space_invaders.keras`. Needs
`pip install "kerasrl2[atari]"`. A million steps take about two hours on two cores.
"""

import argparse

import keras

import kerasrl2 as krl

ENV = "ALE/SpaceInvaders-v5"
STEPS = 1_000_000
BUFFER_SIZE = 200_000  # 1.5 GB
LEARNING_STARTS = 20_000
EPSILON_STEPS = 100_000
GAMES_PER_PICTURE = 100
SEED = 0


def main():
    """Trains, records, saves and evaluates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    agent = krl.agents.DQN.for_env(
        ENV,
        encoder="nature_cnn",
        hidden=(512,),
        double=True,
        dueling=True,
        prioritized=True,
        buffer_size=min(BUFFER_SIZE, 10 * steps),
        learning_starts=min(LEARNING_STARTS, steps * 9 // 10),
        epsilon_steps=min(EPSILON_STEPS, steps),
        final_epsilon=0.01,
        learning_rate=1e-4,
        batch_size=32,
        train_frequency=4,
        target_update_interval=1_000,
        clip_rewards=1.0,
        seed=SEED,
    )
    agent.summary()
    agent.fit(
        ENV,
        steps=steps,
        epochs=max(1, steps // 10_000),
        callbacks=[
            krl.callbacks.RecordVideo(
                ENV, "pictures", every_episodes=GAMES_PER_PICTURE, max_steps=2_000
            ),
            keras.callbacks.TensorBoard("logs", write_graph=False),
        ],
    )
    agent.save("space_invaders.keras")
    episodes = 10 if steps == STEPS else 1
    score, path = krl.callbacks.record_episode(agent, ENV, "final.gif", max_steps=500)
    print(f"{agent.buffer}; a game of {score:.0f} points is in {path}")
    scores = agent.evaluate(ENV, episodes=episodes)
    print(f"return {scores['return']:.0f} over {scores['episodes']} games")


if __name__ == "__main__":
    main()
