"""The base class of policy heads."""

import tensorflow as tf

from kerasrl2._checks import check_same_shape


class PolicyHead:
    """Base class: turns a network output `[..., P]` into a distribution over actions.

    Actions are in the policy's own coordinates, those that buffers store and losses
    use: the index from 0 (`Categorical`), standardised and not clipped
    (`DiagonalGaussian`), before tanh (`SquashedGaussian`), in (0, 1) (`Beta`).
    `to_env` converts to those of the environment, `from_env` back. `log_prob`,
    `entropy` and `kl` are in nats, summed over the action's dimensions. All methods
    work in eager, graph and XLA mode; half-precision parameters are converted to
    float32. Wrong shapes raise `ValueError`.

    Attributes:
        kind: String, the head's name in `head_for`.
        num_parameters: Integer `P`, the size of the network's last layer.
        action_shape: Tuple, `()` or `(D,)`, shape of an action of the policy.
        action_dtype: String, dtype of an action of the policy.

    Example:
    >>> from kerasrl2.distributions import Categorical
    >>> head = Categorical(2)
    >>> isinstance(head, PolicyHead), head.num_parameters, head.action_shape
    (True, 2, ())
    """

    kind = num_parameters = action_shape = None
    action_dtype = "float32"

    def distribution(self, parameters):
        """A `tensorflow_probability` distribution of batch shape `[...]`."""
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
        """Converts actions of the policy to actions of the environment."""
        raise NotImplementedError

    def from_env(self, action):
        """Converts actions of the environment to actions of the policy.

        Args:
            action: `[..., *shape]` of the environment's action space, any dtype.

        Returns:
            `[..., *action_shape]` of `action_dtype`. `to_env` converts it back to
            `action`, up to rounding, if `action` lies in the space.

        Raises:
            ValueError: `action` does not have the shape of the space.
        """
        raise NotImplementedError

    def env_log_prob(self, parameters, action):
        """Log-density or -probability of an action in the environment's units, nats.

        Args:
            parameters: `[..., P]` float.
            action: `[..., *shape]` of the environment's action space, within bounds.

        Returns:
            `[...]` float: `log_prob` of the policy's own action minus the logarithm of
            how much `to_env` stretches it.
        """
        own = self.log_prob(parameters, self.from_env(action))
        return own - tf.cast(self.log_stretch(), own.dtype)

    def log_stretch(self):
        """Logarithm of the volume that `to_env` makes of a unit volume, a float."""
        return 0.0

    def random(self, n, seed):
        """Random actions of the policy; uniform in the space, where that is bounded.

        Args:
            n: Integer, the number of actions.
            seed: `[2]` int, stateless seed.

        Returns:
            `[n, *action_shape]` of `action_dtype`.
        """
        raise NotImplementedError

    def fits(self, space):
        """Whether a Gymnasium space has exactly the actions of this head.

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
