"""What all representations of action values share."""

import math

import tensorflow as tf

from kerasrl2._checks import check_same_shape
from kerasrl2.losses._inputs import legal_actions, refuse_other_actions


class ActionValues:
    """Base: how outputs of a Q-network are read, what they learn, and how.

    `outputs` in the following is whatever `read` returns. Half-precision outputs are
    computed on in float32.

    Attributes:
        num_atoms: Integer `M` or None, what the network gives for each action.
        takes_fractions: Boolean, whether the network has a second input.

    Example:
    >>> from kerasrl2.action_values import ScalarValues
    >>> isinstance(ScalarValues(), ActionValues), ScalarValues().num_atoms
    (True, None)
    """

    num_atoms = None
    takes_fractions = False

    def read(self, network, observation, training, seed=None):
        """Outputs of a network for observations `[B, ...]`.

        Args:
            network: Keras model.
            observation: `[B, ...]`, normalised if the agent does so.
            training: Boolean, as Keras means it.
            seed: `[2]` int32 or None, for representations that sample.
        """
        del seed
        return tf.cast(network(observation, training=training), tf.float32)

    def expected(self, outputs):
        """Expected returns `[B, A]` float32."""
        raise NotImplementedError

    def target(self, next_outputs, policy, reward, discount):
        """What `outputs` of the action taken should become. Gives no gradient.

        Args:
            next_outputs: Outputs at the next states, of the target network.
            policy: `[B, A]` float32, probabilities of the actions taken there.
            reward: `[B]` float32.
            discount: `[B]` float32, 0 where the next state is terminal.
        """
        raise NotImplementedError

    def loss(self, outputs, action, target):
        """Loss and error of each sample; only `outputs` receives a gradient.

        Args:
            outputs: Outputs at the states.
            action: `[B]` int, the action taken.
            target: What `target` returned.

        Returns:
            `(loss, td_error)`: both `[B]` float32. The size of `td_error` is the
            sample's priority.
        """
        raise NotImplementedError

    def check(self, shape, num_actions):
        """Raises `ValueError` unless a network's output shape fits."""
        expected = (num_actions,) + (
            () if self.num_atoms is None else (self.num_atoms,)
        )
        if tuple(shape[1:]) != expected:
            names = ", ".join(map(str, expected))
            raise ValueError(
                f"Expected a network with one output [B, {names}] for "
                f"{num_actions} actions and {type(self).__name__}. "
                f"Received: {tuple(shape)}"
            )

    def get_config(self):
        raise NotImplementedError

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def of_action(outputs, action):
    """`[B, A, M]` and `[B]` int to `[B, M]`: no gradient to other actions.

    Of what is no action, NaN without gradient; outside of graphs a `ValueError`.
    """
    num_actions = outputs.shape[1]
    chosen, legal = legal_actions(action, num_actions)
    check_same_shape(rows_of_outputs=outputs[:, 0, 0], action=chosen)
    refuse_other_actions(action, legal, num_actions)
    chosen = tf.gather(outputs, chosen, axis=1, batch_dims=1)
    return tf.where(legal[:, None], chosen, math.nan)


def mixed(outputs, policy):
    """`[B, A, M]` averaged over actions with `[B, A]` probabilities, `[B, M]`."""
    return tf.reduce_sum(policy[..., None] * outputs, axis=1)
