"""Linear Q-networks and transitions, for tests by hand."""

import keras
import numpy as np
import tensorflow as tf

from kerasrl2.agents import DQN
from kerasrl2.types import Transition


def linear_network(kernel):
    """`Q(s) = s K` without a bias."""
    kernel = np.array(kernel, np.float32)
    layer = keras.layers.Dense(kernel.shape[1], use_bias=False)
    network = keras.Sequential([keras.Input((kernel.shape[0],)), layer])
    layer.kernel.assign(kernel)
    return network


def make_linear(online, target, **hyperparameters):
    settings = {"optimizer": keras.optimizers.SGD(0.1), "max_gradient_norm": None}
    settings |= {"seed": 0, "xla": False}
    agent = DQN(linear_network(online), **{**settings, **hyperparameters})
    agent.target_network.set_weights([np.array(target, np.float32)])
    return agent


def transitions(seed=0, rows=16, features=3, actions=4):
    rng = np.random.default_rng(seed)

    def floats(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    return Transition(
        observation=floats(rows, features),
        action=tf.constant(rng.integers(0, actions, rows), tf.int32),
        reward=floats(rows),
        discount=tf.constant(rng.choice([0.0, 0.9], rows), tf.float32),
        next_observation=floats(rows, features),
        weight=tf.constant(rng.uniform(0.1, 1.0, rows), tf.float32),
    )
