"""PPO on CartPole in Keras style: `fit` with stock callbacks, evaluate, save, plot.

    python examples/ppo_cartpole.py [--steps N]

Leaves `best.keras`, `metrics.csv` and `learning_curve.png` in the working directory.
"""

import argparse

import keras

import kerasrl2 as krl
from kerasrl2 import plotting

ENV = "CartPole-v1"
STEPS = 100_000
EPOCHS = 10  # how often to report and evaluate
SEED = 1


def main():
    """Trains, loads the best agent, evaluates it and plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    agent = krl.agents.PPO.for_env(
        ENV,
        num_envs=8,
        rollout_length=32,
        batch_size=256,
        num_epochs=20,
        gamma=0.98,
        lambda_=0.8,
        learning_rate=1e-3,
        seed=SEED,
    )
    agent.summary()
    agent.fit(
        ENV,
        steps=steps,
        epochs=min(EPOCHS, steps // 256),
        validation_env=ENV,
        callbacks=[
            keras.callbacks.CSVLogger("metrics.csv"),
            keras.callbacks.ModelCheckpoint(
                "best.keras", monitor="val_return", save_best_only=True
            ),
            keras.callbacks.EarlyStopping("val_return", patience=3),
        ],
    )
    best = krl.load_agent("best.keras")
    scores = best.evaluate(ENV, episodes=20, seed=1)
    print(f"return {scores['return']:.1f} +- {scores['return_std']:.1f}")
    plotting.plot_learning_curves(
        {"PPO": [plotting.read_metrics("metrics.csv")]}, "learning_curve.png", ENV
    )


if __name__ == "__main__":
    main()
