"""The objective of a trust-region step as a function of the policy's weights."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._private import layers_of
from kerasrl2.agents.regularization import adds_losses
from kerasrl2.agents.shares import known_shares
from kerasrl2.losses import surrogate_loss
from kerasrl2.natural_gradient import fisher_product
from kerasrl2.permutations import random_permutation
from kerasrl2.statistics import masked_mean


class Measured(NamedTuple):
    """What the policy of some weights is worth, scalars.

    Attributes:
        objective: Float, the surrogate objective, with entropy and regularizers.
        kl: Float, mean `KL(old || new)`, nats.
        entropy: Float, mean entropy, nats.
    """

    objective: Any
    kl: Any
    entropy: Any


class Surrogate:
    """The objective of `TRPO` on a batch, for any weights of the policy.

    `mean(rho A) + c_h * mean(entropy)`, less the regularizers of the policy's weights,
    with `rho = exp(log_prob - batch.log_prob)`. No variable is written but by `move`.

    Args:
        agent: `TRPO`.
        batch: `OnPolicyBatch` of `B` steps.

    Attributes:
        variables: List of the Keras variables of the policy.
    """

    def __init__(self, agent, batch):
        self._agent, self._batch = agent, batch
        self.variables = separate_shares(agent).actor
        self._advantage = batch.advantage
        if agent.normalize_advantages:
            self._advantage = agent.normalized_advantages(batch.advantage, batch.valid)
        self._old = self.parameters(flat(self.variables), batch.observation)

    def parameters(self, weights, observation):
        """Parameters of the policy head, `[B, P]`, for weights `[n]`."""
        values = unflat(weights, self.variables)
        mapping = list(zip(self.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return self._agent.forward(observation).parameters

    def __call__(self, weights):
        """`Measured` for weights `[n]`. Its objective gives them a gradient."""
        head, batch = self._agent.head, self._batch
        parameters = self.parameters(weights, batch.observation)
        log_prob = head.log_prob(parameters, batch.action)
        loss = surrogate_loss(log_prob, batch.log_prob, self._advantage)
        entropy = masked_mean(head.entropy(parameters), batch.valid)
        objective = (
            self._agent.entropy_coefficient * entropy
            - masked_mean(loss, batch.valid)
            - self._penalty(weights)
        )
        kl = masked_mean(head.kl(self._old, parameters), batch.valid)
        return Measured(objective, kl, entropy)

    def fisher_product(self, weights, seed):
        """`natural_gradient.fisher_product` of the mean divergence of drawn rows.

        Args:
            weights: `[n]` float.
            seed: `[2]` int32.
        """
        observation, valid = self._batch.observation, self._batch.valid
        size = valid.shape[0]
        drawn = max(1, round(self._agent.fisher_subsampling * size))
        if drawn < size:
            rows = random_permutation(size, seed)[:drawn]
            observation, valid = tf.nest.map_structure(
                lambda tensor: tf.gather(tensor, rows), (observation, valid)
            )
        counts = tf.cast(valid, tf.float32)
        return fisher_product(
            lambda weights: self.parameters(weights, observation),
            weights,
            self._agent.head.kl,
            counts / tf.maximum(tf.reduce_sum(counts), 1.0),
            self._agent.damping,
        )

    def move(self, fraction, step, healthy):
        """Adds a fraction of a step `[n]` to the variables, if it is not 0."""
        moves = (fraction > 0.0) & healthy
        moved = flat(self.variables) + tf.cast(fraction, step.dtype) * step
        for variable, value in zip(
            self.variables, unflat(moved, self.variables), strict=True
        ):
            variable.assign(tf.where(moves, value, variable.value))

    def _penalty(self, weights):
        pairs = zip(self.variables, unflat(weights, self.variables), strict=True)
        terms = [v.regularizer(value) for v, value in pairs if v.regularizer]
        return tf.add_n([tf.cast(term, tf.float32) for term in terms] or [0.0])


def flat(variables):
    """All values of a list of Keras variables in one vector, `[n]`."""
    values = [tf.reshape(variable.value, [-1]) for variable in variables]
    dtype = "float64" if any(v.dtype == "float64" for v in values) else "float32"
    return tf.concat([tf.cast(value, dtype) for value in values], axis=0)


def unflat(vector, variables):
    """List of tensors of the variables' shapes and dtypes from a vector, `[n]`."""
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    return [
        tf.cast(tf.reshape(part, variable.shape), variable.dtype)
        for part, variable in zip(tf.split(vector, sizes), variables, strict=True)
    ]


def check_separate(agent):
    """Raises unless an agent's policy and value are networks that can be told apart.

    Args:
        agent: `TRPO`.

    Raises:
        ValueError: They share weights, the policy has none to train or remembers, or a
            layer adds a loss of its own.
    """
    name = type(agent).__name__
    if agent.remembers:
        raise ValueError(
            f"Expected a policy without memory. Received: {name} with a recurrent "
            "policy. The products of its Fisher matrix would go through the steps of a "
            "rollout twice: use PPO."
        )
    separate_shares(agent)
    adding = [layer.name for layer in layers_of(agent.network) if adds_losses(layer)]
    if adding:
        raise ValueError(
            f"Expected a network whose layers add no losses of their own: a line "
            f"search of {name} could not see them. Received: {', '.join(adding)}. Use "
            "regularizers of weights instead."
        )


def separate_shares(agent):
    """`Shares` of an agent's network, whose policy and value share no weights.

    Raises:
        ValueError: They do, or the policy has none to train.
    """
    name, shares = type(agent).__name__, known_shares(agent)
    if shares.shared:
        paths = ", ".join(variable.path for variable in shares.shared[:3])
        raise ValueError(
            f"Expected a network whose policy and value share no weights: {name} moves "
            f"the one by a natural gradient, the other by an optimizer. Received: "
            f"{len(shares.shared)} shared ones ({paths}, ...). Make it with "
            "`shared_trunk=False`, give each output layers of its own, or freeze the "
            "shared ones (`layer.trainable = False`)."
        )
    if not shares.actor:
        raise ValueError(
            f"Expected trainable weights of the policy for {name}. Received: none. Set "
            "`trainable = True` where something is to be learned."
        )
    return shares
