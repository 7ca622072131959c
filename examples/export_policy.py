"""Trains an agent, exports its policy, and plays with the export alone.

    python examples/export_policy.py [--steps N]

`policies/cartpole/1` is what TensorFlow Serving takes; `cartpole.tflite` is for LiteRT.
Each holds the observation normaliser, the network and the choice of the action.
"""

import argparse
import shutil

import gymnasium
import numpy as np
import tensorflow as tf

import kerasrl2 as krl

ENV, STEPS, SEED = "CartPole-v1", 30_000, 0
DIRECTORY, FILE = "policies/cartpole/1", "cartpole.tflite"


def play(policy, seed):
    """The return of an episode with a function of observations `[1, ...]`."""
    env = gymnasium.make(ENV)
    observation, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        action = policy(observation[None].astype(np.float32))
        observation, reward, terminated, truncated, _ = env.step(int(action[0]))
        total, ended = total + reward, terminated or truncated
    return total


def main():
    """Trains, exports and compares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    agent = krl.agents.PPO.for_env(
        ENV, learning_rate=1e-3, normalize_observations=True, seed=SEED
    )
    agent.fit(ENV, steps=steps, epochs=1)

    shutil.rmtree(DIRECTORY, ignore_errors=True)  # `export` overwrites no directory
    agent.export(DIRECTORY)
    agent.export(FILE, format="tflite")

    # From here on a program would need TensorFlow only, and no kerasrl2.
    serving = tf.saved_model.load(DIRECTORY).signatures["serving_default"]
    said = serving(observation=tf.zeros([1, 4]))
    for name, value in said.items():
        print(f"{name}: {value.numpy()}")

    def exported(observation):
        return serving(observation=tf.constant(observation))["action"].numpy()

    returns = [(play(agent.act, seed), play(exported, seed)) for seed in range(3)]
    print("returns of the agent and of its export:", returns)
    assert all(mine == other for mine, other in returns)


if __name__ == "__main__":
    main()
