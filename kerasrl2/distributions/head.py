"""What all policy heads share."""

import tensorflow as tf

from kerasrl2._checks import check_same_shape


class PolicyHead:
    """Base of the heads: turns a network output `[..., P]` into actions.

    Actions are in the policy's own coordinates, the ones a buffer stores and a loss
    scores: the index from 0 (`Categorical`), standardised and not clipped
    (`DiagonalGaussian`), before tanh (`SquashedGaussian`), in (0, 1) (`Beta`).
    `to_env` changes to the environment's, `from_env` back. `fits` says whether a space
    has exactly these actions. Information is in nats, summed over the
    action's dimensions. All methods work in eager, graph and XLA mode; half-precision
    parameters are computed in float32. Wrong shapes raise `ValueError`.

    Attributes:
        kind: String, its name for `head_for`.
        num_parameters: Integer `P`, the size of the network's last layer.
        action_shape: Tuple, `()` or `(D,)`, of one action in the policy's coordinates.
        action_dtype: String, its dtype.
    """

    kind = num_parameters = action_shape = None
    action_dtype = "float32"

    def distribution(self, parameters):
        """The `tensorflow_probability` distribution, with batch shape `[...]`."""
        raise NotImplementedError

    def sample(self, parameters, seed):
        """Actions `[..., *action_shape]` for a stateless `seed`, `[2]` int."""
        raise NotImplementedError

    def mode(self, parameters):
        """The action to take greedily, `[..., *action_shape]`."""
        raise NotImplementedError

    def log_prob(self, parameters, action):
        """Log-density of `action`, `[...]`. Gradients flow to both."""
        raise NotImplementedError

    def entropy(self, parameters):
        """Entropy, `[...]`. Gradients flow to `parameters`."""
        raise NotImplementedError

    def kl(self, parameters, other_parameters):
        """`KL(policy || other policy)`, `[...]`. Gradients flow to both."""
        raise NotImplementedError

    def to_env(self, action):
        """What the environment is given for an action of the policy."""
        raise NotImplementedError

    def from_env(self, action):
        """The action of the policy for one of the environment: undoes `to_env`.

        Args:
            action: `[..., *shape]` of the environment's action space, any dtype.

        Returns:
            `[..., *action_shape]` of `action_dtype`. `to_env` makes `action` of it
            again, up to rounding, wherever that lies in the space.

        Raises:
            ValueError: `action` has another shape than the space.
        """
        raise NotImplementedError

    def random(self, n, seed):
        """Uniformly random actions, before anything is known.

        `to_env` of them is uniform over the space, where that is bounded.

        Args:
            n: Integer, how many.
            seed: `[2]` int, stateless seed.

        Returns:
            `[n, *action_shape]` of `action_dtype`, in the policy's coordinates.
        """
        raise NotImplementedError

    def fits(self, space):
        """Whether a Gymnasium space has exactly the actions this head was made for.

        Args:
            space: Any `gymnasium.Space`.

        Returns:
            Boolean.
        """
        raise NotImplementedError

    def get_config(self):
        raise NotImplementedError

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def _check(self, parameters, action=None):
        parameters = tf.convert_to_tensor(parameters)
        if not parameters.shape.rank or parameters.shape[-1] != self.num_parameters:
            raise ValueError(
                f"Expected a network output with {self.num_parameters} parameters "
                f"in its last axis for {type(self).__name__}. "
                f"Received: network output of shape {tuple(parameters.shape)}"
            )
        if parameters.dtype not in (tf.float32, tf.float64):
            parameters = tf.cast(parameters, tf.float32)
        if action is None:
            return parameters
        action = tf.convert_to_tensor(action)
        expected = parameters.shape[:-1].concatenate(self.action_shape)
        if not expected.is_compatible_with(action.shape):
            raise ValueError(
                f"Expected actions of shape {tuple(expected)} for a network output of "
                f"shape {tuple(parameters.shape)}. Received: {tuple(action.shape)}"
            )
        return parameters, action

    def _pair(self, parameters, other_parameters):
        """Two network outputs of one shape, in the dtype of the first."""
        parameters, other = self._check(parameters), self._check(other_parameters)
        check_same_shape(parameters=parameters, other_parameters=other)
        return parameters, tf.cast(other, parameters.dtype)
