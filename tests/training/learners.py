"""A Keras model of a user's own with the library's train step."""

import keras
import numpy as np
import tensorflow as tf

from kerasrl2.losses import ImportanceWeightedTDLoss
from kerasrl2.training import QLearningTrainStep
from kerasrl2.types import Transition


@keras.saving.register_keras_serializable(package="tests")
class QLearner(QLearningTrainStep, keras.Model):
    """A Q-network that `fit` trains."""


def table(values):
    """A network over one-hot states that returns the rows of `values`."""
    values = np.asarray(values, "f4")
    network = keras.Sequential(
        [
            keras.Input([len(values)]),
            keras.layers.Dense(values.shape[1], use_bias=False),
        ]
    )
    network.layers[0].kernel.assign(values)
    return network


def batch(states, actions, rewards, discounts, following, weights=None, num_states=4):
    """`Transition` between one-hot states."""
    weights = np.ones(len(states)) if weights is None else weights
    return Transition(
        tf.one_hot(states, num_states),
        tf.constant(actions, tf.int32),
        tf.constant(rewards, tf.float32),
        tf.constant(discounts, tf.float32),
        tf.one_hot(following, num_states),
        tf.constant(weights, tf.float32),
    )


def two_rows(weights=(1.0, 0.5)):
    """systems.md 004-08: r = 1, 2 and gamma = 0.5, from states 0, 1 to 2, 3."""
    return batch([0, 1], [0, 1], [1.0, 2.0], [0.5, 0.5], [2, 3], weights)


ONLINE = [[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
TARGET = [[0.0, 0.0], [0.0, 0.0], [10.0, 20.0], [30.0, 40.0]]


def learner(loss="huber", optimizer=None, compiled=None, **arguments):
    """A learner on `ONLINE` and `TARGET`, compiled with SGD(0.1)."""
    model = QLearner(table(ONLINE), **{"tau": None, **arguments})
    model.target_network.set_weights([np.float32(TARGET)])
    model.compile(
        optimizer or keras.optimizers.SGD(0.1),
        loss=ImportanceWeightedTDLoss(loss),
        **(compiled or {}),
    )
    return model


def repeated(element, steps):
    """A data set that yields `element` `steps` times."""
    return tf.data.Dataset.from_tensors(element).repeat(steps)
