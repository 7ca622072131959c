"""A network of your own: a functional Keras model whose trunk policy and value share.

python examples/own_network.py [--steps N]
"""

import argparse

import keras
from keras import layers

import kerasrl2 as krl

ENV = "Acrobot-v1"
STEPS = 200_000
UNITS = 64
SEED = 1


def build_network(observation_shape, num_parameters):
    """A residual trunk, a policy output and a value output."""
    observation = keras.Input(observation_shape)
    x = layers.Dense(UNITS, activation="swish")(observation)
    for _ in range(2):
        branch = layers.Dense(UNITS, activation="swish")(layers.LayerNormalization()(x))
        x = layers.Add()([x, branch])
    small = keras.initializers.Orthogonal(0.01)  # starts with a nearly uniform policy
    parameters = layers.Dense(num_parameters, kernel_initializer=small)(x)
    value = layers.Dense(1)(x)
    return keras.Model(observation, [parameters, value], name="residual")


def main():
    """Trains an agent made of network, head and optimizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    keras.utils.set_random_seed(SEED)  # of the network's weights
    env = krl.envs.make(ENV, num_envs=16)
    head = krl.distributions.head_for(env.action_space)
    network = build_network(env.observation_space.shape, head.num_parameters)
    network.summary()
    agent = krl.agents.PPO(
        network,
        head,
        optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-5),
        rollout_length=64,
        batch_size=256,
        num_epochs=4,
        entropy_coefficient=0.01,
        seed=SEED,
    )
    agent.fit(env, steps=steps, epochs=min(10, steps // 1024), validation_env=ENV)


if __name__ == "__main__":
    main()
