"""Action values as probabilities of fixed atoms."""

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.action_values.base import ActionValues, mixed, of_action
from kerasrl2.losses import distributional_cross_entropy, project_distribution

_LIMIT = 1e38  # a range of twice as much fits into float32


@keras.saving.register_keras_serializable(package="kerasrl2")
class CategoricalValues(ActionValues):
    """The return's distribution on `M` evenly spaced atoms (C51).

    Algorithm 1 of Bellemare et al. (2017), https://arxiv.org/abs/1707.06887. The
    network's output is `[B, A, M]`, unnormalised log-probabilities. The TD error is the
    Kullback-Leibler divergence from target to prediction in nats, as for priorities in
    Hessel et al. (2018), https://arxiv.org/abs/1710.02298.

    Args:
        num_atoms: Integer >= 2, `M`.
        minimum: Finite float, the first atom: returns below cannot be told apart.
        maximum: Finite float > `minimum`, the last atom.

    Example:
    >>> values = CategoricalValues(num_atoms=3, minimum=0.0, maximum=2.0)
    >>> certain = tf.constant([[[-99.0, -99.0, 99.0]]])
    >>> float(values.expected(certain)[0, 0])
    2.0
    >>> half = tf.constant([0.5])
    >>> values.target(certain, tf.ones([1, 1]), half, half).numpy().tolist()
    [[0.0, 0.5, 0.5]]
    """

    def __init__(self, num_atoms=51, minimum=-10.0, maximum=10.0):
        check_positive_integer("num_atoms", num_atoms)
        check_range("num_atoms", num_atoms, 2)
        for name, value in (("minimum", minimum), ("maximum", maximum)):
            check_range(name, value, -_LIMIT, _LIMIT)
        check_range("minimum", minimum, None, maximum, open_high=True)
        atoms = np.linspace(minimum, maximum, num_atoms).astype(np.float32)
        if not np.all(np.diff(atoms) > 0.0):
            raise ValueError(
                f"Expected a range in which {num_atoms} atoms differ in float32. "
                f"Received: minimum={minimum}, maximum={maximum}"
            )
        self.num_atoms, self.minimum, self.maximum = num_atoms, minimum, maximum

    @property
    def support(self):
        """`[M]` float32, the atoms, in units of return."""
        return tf.linspace(float(self.minimum), float(self.maximum), self.num_atoms)

    def expected(self, outputs):
        return tf.reduce_sum(tf.nn.softmax(outputs) * self.support, axis=-1)

    def target(self, next_outputs, policy, reward, discount):
        probabilities = mixed(tf.nn.softmax(next_outputs), policy)
        return project_distribution(self.support, probabilities, reward, discount)

    def loss(self, outputs, action, target):
        loss = distributional_cross_entropy(target, of_action(outputs, action))
        entropy = -tf.reduce_sum(tf.math.xlogy(target, target), axis=-1)
        return loss, tf.stop_gradient(loss - entropy)

    def get_config(self):
        return {
            "num_atoms": self.num_atoms,
            "minimum": self.minimum,
            "maximum": self.maximum,
        }
