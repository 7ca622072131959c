"""An environment of your own in TensorFlow: XLA compiles it with the whole loop.

    python examples/tensorflow_environment.py [--steps N]

A boat is to cross a river and stay on its course, against a current that changes.
"""

import argparse

import numpy as np
import tensorflow as tf
from gymnasium import spaces

import kerasrl2 as krl

STEPS = 500_000
NUM_ENVS, ROLLOUT_LENGTH = 64, 32
SEED = 1


class River(krl.envs.TensorFlowEnvironment):
    """Steer against the current.

    Observation: `[N, 3]` float32, offset from the course (m), drift (m/s), current
    (m/s^2). Action: `[N, 1]` float in [-1, 1], the rudder.
    """

    def __init__(self, num_envs=1, max_episode_steps=100):
        high = np.full(3, np.inf, np.float32)
        super().__init__(
            "River",
            num_envs,
            spaces.Box(-high, high),
            spaces.Box(-1.0, 1.0, [1]),
            max_episode_steps,
        )

    def initial(self, seed, n):
        offset_and_drift = tf.random.stateless_uniform([n, 2], seed, -0.5, 0.5)
        current = tf.random.stateless_uniform([n, 1], seed + 1, -0.5, 0.5)
        return tf.concat([offset_and_drift, current], axis=1)

    def transition(self, physics, action):
        offset, drift, current = tf.unstack(physics, axis=1)
        rudder = tf.clip_by_value(action[:, 0], -1.0, 1.0)
        drift += 0.1 * (rudder + current - 0.2 * drift)
        offset += 0.1 * drift
        aground = tf.abs(offset) > 2.0
        reward = 1.0 - offset**2 - 0.1 * rudder**2 - tf.where(aground, 10.0, 0.0)
        return tf.stack([offset, drift, current], axis=1), reward, aground

    def observe(self, physics):
        return physics


def main():
    """Trains and evaluates, with XLA."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    env = River(num_envs=NUM_ENVS)
    agent = krl.agents.PPO.for_env(
        env,
        rollout_length=ROLLOUT_LENGTH,
        batch_size=512,
        num_epochs=10,
        gamma=0.95,
        learning_rate=1e-3,
        xla=True,
        seed=SEED,
    )
    rollouts = -(-steps // (NUM_ENVS * ROLLOUT_LENGTH))
    history = agent.fit(env, steps=steps, epochs=min(5, rollouts))
    print(f"{history.history['steps_per_second'][-1]:,.0f} steps per second")
    print(agent.evaluate(River(num_envs=10), episodes=50))  # at most 100


if __name__ == "__main__":
    main()
