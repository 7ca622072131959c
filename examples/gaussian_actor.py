"""The smallest continuous policy gradient: a Gaussian that learns to hit a target.

    python examples/gaussian_actor.py [--steps N]

One state, one action per step. A network of 5-5 units says mean and deviation of a
Gaussian; an action within 0.25 of the target 4 pays 1, one at distance d pays 0.25 / d.
The loss is the pseudo-loss `-reward * log pi(action)`, with the exact log-probability:
no constant within the logarithm, so that far actions pull as they should. Plots mean,
deviation and loss to `gaussian_actor.png`.
"""

import argparse

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import layers, ops

import kerasrl2 as krl

STEPS = 10_000
TARGET, WIDTH = 4.0, 0.25
SMALLEST_DEVIATION = 1e-3
SEED = 0


def build_network():
    """From the constant state `[B, 1]` to `[mean, log deviation]`, `[B, 2]`.

    The deviation is a softplus; its bias makes it 1 where the features are 0.
    """
    state = keras.Input([1])
    x = state
    for _ in range(2):
        x = layers.Dense(5, "relu", kernel_initializer="he_uniform")(x)
    mean = layers.Dense(1, name="mean")(x)
    bias = keras.initializers.Constant(np.log(np.e - 1.0))  # 0.541325
    deviation = layers.Dense(1, "softplus", bias_initializer=bias, name="deviation")(x)
    log_deviation = ops.log(ops.maximum(deviation, SMALLEST_DEVIATION))
    return keras.Model(state, layers.Concatenate()([mean, log_deviation]))


def reward_of(action):
    """1 within `WIDTH` of the target, else `WIDTH` over the distance."""
    return WIDTH / ops.maximum(WIDTH, ops.abs(TARGET - action))


def train(steps, seed):
    """`[steps, 4]`: mean, deviation, loss and reward of each update."""
    keras.utils.set_random_seed(seed)
    network = build_network()
    head = krl.distributions.DiagonalGaussian([None], [None])
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)
    state = tf.ones([1, 1])

    @tf.function
    def learn():
        rows = tf.TensorArray(tf.float32, steps, element_shape=[4])
        for step in tf.range(steps):
            with tf.GradientTape() as tape:
                parameters = network(state)
                action = head.sample(parameters, tf.stack([seed, step]))
                action = tf.stop_gradient(action)
                reward = reward_of(action[:, 0])
                log_prob = head.log_prob(parameters, action)
                loss = krl.losses.policy_gradient_loss(log_prob, reward)[0]
            weights = network.trainable_variables
            optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)
            mean, deviation = parameters[0, 0], tf.exp(parameters[0, 1])
            rows = rows.write(step, tf.stack([mean, deviation, loss, reward[0]]))
        return rows.stack()

    return learn().numpy()


def main():
    """Trains, plots and prints the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    rows = train(parser.parse_args().steps, SEED)
    names = "mean", "deviation", "loss"
    figure, axes = plt.subplots(3, sharex=True, figsize=(6, 6))
    for axis, name, values in zip(axes, names, rows.T, strict=False):
        axis.plot(values, linewidth=0.5)
        axis.set_ylabel(name)
    axes[0].axhline(TARGET, color="grey", linestyle="--")
    axes[-1].set_xlabel("update")
    figure.savefig("gaussian_actor.png")
    mean, deviation, _, reward = rows[-100:].mean(axis=0)
    print(f"mean {mean:.2f}, deviation {deviation:.3f}, reward {reward:.3f}")


if __name__ == "__main__":
    main()
