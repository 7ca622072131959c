"""PPO with continuous actions: Pendulum, observations and rewards normalised.

    python examples/ppo_pendulum.py [--steps N]

Returns start near -1200; a policy that holds the rod up scores above -250.
"""

import argparse

import keras

import kerasrl2 as krl

ENV = "Pendulum-v1"
STEPS = 300_000
NUM_ENVS, ROLLOUT_LENGTH, BATCH_SIZE, PASSES = 16, 128, 256, 10
SEED = 1


def main():
    """Trains and shows what the agent has learned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    rollouts = -(-steps // (NUM_ENVS * ROLLOUT_LENGTH))
    gradient_steps = rollouts * PASSES * (NUM_ENVS * ROLLOUT_LENGTH // BATCH_SIZE)
    agent = krl.agents.PPO.for_env(
        ENV,
        distribution="gaussian",  # or "squashed_gaussian", "beta"
        normalize_observations=True,
        normalize_rewards=True,
        num_envs=NUM_ENVS,
        rollout_length=ROLLOUT_LENGTH,
        batch_size=BATCH_SIZE,
        num_epochs=PASSES,
        gamma=0.9,
        learning_rate=keras.optimizers.schedules.PolynomialDecay(
            1e-3, gradient_steps, end_learning_rate=0.0
        ),
        seed=SEED,
    )
    agent.fit(ENV, steps=steps, epochs=min(10, rollouts), validation_env=ENV)

    print("the network sees observations with the running statistics removed:")
    print("  mean     ", agent.observation_normalizer.mean.numpy().round(2))
    print("  variance ", agent.observation_normalizer.variance.numpy().round(2))
    torque = agent.act([1.0, 0.0, 0.5])  # upright, falling slowly
    print(f"torque against a fall to the left: {float(torque[0]):.2f}")


if __name__ == "__main__":
    main()
