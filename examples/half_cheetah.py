"""MuJoCo's half cheetah learns to run: soft actor-critic, with a video at the end.

    python examples/half_cheetah.py [--steps N]

Leaves `half_cheetah.keras` and the last game as `half_cheetah.mp4`. Needs
`pip install "kerasrl2[mujoco,video]"`, and libEGL for pictures without a screen.
200,000 steps take about ten minutes on two cores.
"""

import argparse

import kerasrl2 as krl

ENV = "HalfCheetah-v5"
STEPS = 200_000
LEARNING_STARTS = 10_000
SEED = 0


def main():
    """Trains, saves, evaluates and records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps
    whole = steps == STEPS

    agent = krl.agents.SAC.for_env(
        ENV,
        hidden=(256, 256) if whole else (16,),
        learning_rate=3e-4,
        buffer_size=max(1_000, steps),
        learning_starts=min(LEARNING_STARTS, steps // 2),
        seed=SEED,
    )
    agent.fit(ENV, steps=steps, epochs=max(1, steps // 10_000))
    agent.save("half_cheetah.keras")
    scores = agent.evaluate(ENV, episodes=10 if whole else 1)
    print(f"return {scores['return']:.0f} over {scores['episodes']} games")
    try:
        score, path = krl.callbacks.record_episode(
            agent, ENV, "half_cheetah.mp4", max_steps=1_000 if whole else 20
        )
    except Exception as error:  # whatever the machine's OpenGL raises
        print(f"no video, for OpenGL cannot draw here: {error}")
    else:
        print(f"a game of {score:.0f} points is in {path}")


if __name__ == "__main__":
    main()
