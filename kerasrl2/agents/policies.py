"""Policies as Keras models, with everything inside that `act` does."""

import keras
import tensorflow as tf

from kerasrl2.distributions import mask_parameters
from kerasrl2.distributions.sampling import shape_of
from kerasrl2.layers.encoders import observation_input
from kerasrl2.layers.specs import ACTION_MASK
from kerasrl2.losses import quantile_midpoints


@keras.saving.register_keras_serializable(package="kerasrl2")
class GreedyAction(keras.layers.Layer):
    """The best action by the parameters of a head, as the environment takes it.

    Args:
        head: Policy head of `kerasrl2.distributions`.
        **kwargs: Base layer arguments.

    Input shape: `[B, P]`, parameters.

    Output shape: `[B]` or `[B, ...]`, actions.
    """

    def __init__(self, head, **kwargs):
        super().__init__(**kwargs)
        self.head = head

    def call(self, parameters):
        return self.head.to_env(self.head.mode(parameters))

    def get_config(self):
        head = keras.saving.serialize_keras_object(self.head)
        return {**super().get_config(), "head": head}

    @classmethod
    def from_config(cls, config):
        head = keras.saving.deserialize_keras_object(config.pop("head"))
        return cls(head, **config)


@keras.saving.register_keras_serializable(package="kerasrl2")
class LegalParameters(keras.layers.Layer):
    """Parameters of a head, or action values, without illegal actions.

    Input shape: `(parameters, action_mask)`, both `[B, P]`.

    Output shape: `[B, P]`.
    """

    def call(self, inputs):
        return mask_parameters(*inputs)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@keras.saving.register_keras_serializable(package="kerasrl2")
class ExpectedValues(keras.layers.Layer):
    """Expected action values of what a Q-network says.

    Args:
        action_values: One of `kerasrl2.action_values`.
        **kwargs: Base layer arguments.

    Input shape: `[B, A]` or `[B, A, M]`, outputs of the network.

    Output shape: `[B, A]`, float32, units of return.
    """

    def __init__(self, action_values, **kwargs):
        super().__init__(**kwargs)
        self.action_values = action_values

    def call(self, outputs):
        outputs = tf.cast(outputs, tf.float32)
        if self.action_values.takes_fractions:
            outputs = outputs, None
        return self.action_values.expected(outputs)

    def get_config(self):
        values = keras.saving.serialize_keras_object(self.action_values)
        return {**super().get_config(), "action_values": values}

    @classmethod
    def from_config(cls, config):
        values = keras.saving.deserialize_keras_object(config.pop("action_values"))
        return cls(values, **config)


@keras.saving.register_keras_serializable(package="kerasrl2")
class Midpoints(keras.layers.Layer):
    """The fractions a policy asks an implicit quantile network for.

    Args:
        count: Integer >= 1, `K`.
        **kwargs: Base layer arguments.

    Input shape: `[B, ...]`, anything.

    Output shape: `[B, K]`, float32.
    """

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, observation):
        rows = shape_of(observation)[0]
        return tf.tile(quantile_midpoints(self.count)[None], [rows, 1])

    def get_config(self):
        return {**super().get_config(), "count": self.count}


def make_policy(agent):
    """The model behind `Agent.policy`.

    Args:
        agent: `Agent`.

    Raises:
        ValueError: The policy remembers, or the agent acts in another way than by
            `policy_outputs` and its head.
    """
    name = type(agent).__name__
    if agent.remembers:
        raise ValueError(
            f"Expected a policy without memory. Received: {name}, whose policy "
            "remembers: a model of one batch of observations cannot. Use `act` with "
            "`policy_state`."
        )
    order = type(agent).__mro__
    place = {
        method: next(i for i, owner in enumerate(order) if method in vars(owner))
        for method in ("forward", "greedy", "policy_outputs")
    }
    if place["policy_outputs"] > min(place["forward"], place["greedy"]):
        raise ValueError(
            f"Expected `policy_outputs` of {name}, which changes how it acts. "
            "Received: none. Define it: what `forward` says, with Keras layers only."
        )
    observation = observation_input(agent.observation_spec, raw=True)
    outputs = agent.policy_outputs(agent.normalized(observation))
    if agent.observation_spec.has_mask:
        legal = LegalParameters(dtype="float32", name="legal")
        pair = outputs["parameters"], observation[ACTION_MASK]
        outputs = {**outputs, "parameters": legal(pair)}
    action = GreedyAction(agent.head, dtype="float32", name="action")
    outputs = {"action": action(outputs["parameters"]), **outputs}
    return keras.Model(observation, outputs, name="policy")
