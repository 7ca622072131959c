"""Networks from observations to the parameters of a policy alone."""

import functools

import keras

from kerasrl2._checks import check_choice, check_positive_integer, plain_numbers
from kerasrl2.layers.actor_critics import policy_output
from kerasrl2.layers.encoders import (
    check_hidden,
    features,
    observation_input,
    observations,
    unused_name,
)
from kerasrl2.layers.stacks import stack


@plain_numbers
def actor(
    observation_shape,
    num_parameters,
    hidden=(256, 256),
    activation="relu",
    encoder="auto",
    gaussian_std=None,
    initial_log_std=0.0,
    num_classes=None,
    batch_renormalization=False,
    name="actor",
):
    """A model of the parameters of a policy head, for off-policy agents.

    Hidden kernels are orthogonal, gain sqrt(2), those of the output 0.01; the output is
    float32 even under mixed precision.

    Args:
        observation_shape: Tuple, `gymnasium.Space`, `ObservationSpec` or `NestedSpec`,
            as of `actor_critic`.
        num_parameters: Integer >= 1, `head.num_parameters`.
        hidden: Sequence of integers >= 1, units of the dense layers.
        activation: String or callable, of the dense layers.
        encoder: As of `actor_critic`.
        gaussian_std: None (one linear layer), `"dependent"` or `"independent"`, as of
            `actor_critic`.
        initial_log_std: Float, their first value with the two latter.
        num_classes: Integer >= 1, the number of discrete observations, which are
            one-hot encoded; with `observation_shape` `()` only.
        batch_renormalization: Boolean, of each layer's inputs.
        name: String.

    Returns:
        `keras.Model`, `[B, *observation_shape]` (or a nest) to float32 `[B, P]`.

    Example:
    >>> actor((3,), num_parameters=2, gaussian_std="dependent").output_shape
    (None, 2)
    """
    check_positive_integer("num_parameters", num_parameters)
    check_choice("gaussian_std", gaussian_std, (None, "dependent", "independent"))
    hidden = check_hidden(hidden)
    known = observations(observation_shape, num_classes)
    inputs = observation_input(known)
    named = functools.partial(unused_name, inputs=inputs)
    x = features(inputs, known, (), activation, encoder, "encoder")
    x = stack(x, hidden, activation, named, batch_renormalization=batch_renormalization)
    parameters = policy_output(x, num_parameters, gaussian_std, initial_log_std, named)
    return keras.Model(inputs, parameters, name=name)
