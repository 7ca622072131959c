"""The head of deterministic policies."""

import keras
import tensorflow as tf

from kerasrl2.distributions.bounds import Bounds, float_dtype
from kerasrl2.distributions.head import PolicyHead


@keras.saving.register_keras_serializable(package="kerasrl2")
class Deterministic(PolicyHead):
    """One action for each state, as deterministic policy gradients need it.

    Section 7 of Lillicrap et al. (2016), https://arxiv.org/abs/1509.02971: the
    network's outputs pass a tanh, whose bounds -1 and 1 are those of the environment.
    Actions of the policy are in [-1, 1], after the tanh; noise is added to these. There
    is no density: `log_prob`, `entropy` and `kl` raise `NotImplementedError`.

    Args:
        low: Sequence of `D` finite floats, the environment's bounds.
        high: Sequence of `D` finite floats.
        shape: Tuple or None, the shape of the environment's action, default `(D,)`.
        dtype: String or None, what `to_env` returns: `"float16"`, `"float32"` or
            `"float64"`. None takes float32 if it holds the bounds exactly.

    Example:
    >>> head = Deterministic(low=[-1.0], high=[3.0])
    >>> head.to_env(head.mode([[0.0], [99.0]])).numpy().tolist()
    [[1.0], [3.0]]
    """

    kind = "deterministic"

    def __init__(self, low, high, shape=None, dtype=None):
        self.bounds = Bounds(low, high, shape, dtype)
        self.bounds.check_finite(type(self).__name__)
        self.action_shape = (self.bounds.size,)
        self.num_parameters = self.bounds.size

    @classmethod
    def of_space(cls, space):
        """The head for a `gymnasium.spaces.Box` with finite bounds."""
        low, high = (x.ravel().tolist() for x in (space.low, space.high))
        return cls(low, high, space.shape, float_dtype(space))

    def sample(self, parameters, seed):
        """The one action there is; exploration adds noise to it."""
        del seed
        return self.mode(parameters)

    def mode(self, parameters):
        return tf.tanh(self._check(parameters))

    def centred(self, action):
        """Actions with bounds -1 and 1: these are."""
        return action

    def to_env(self, action):
        return self.bounds.from_centred(action)

    def from_env(self, action):
        return self.bounds.to_centred(action)

    def random(self, n, seed):
        return self.bounds.random_centred(n, seed)

    def fits(self, space):
        return self.bounds.match(space)

    def get_config(self):
        return self.bounds.get_config()
