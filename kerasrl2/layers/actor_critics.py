"""Networks from observations to the parameters of a policy and to a value."""

import functools

import keras
from keras import layers

from kerasrl2._checks import check_choice, check_positive_integer, plain_numbers
from kerasrl2.layers.convolutions import dense
from kerasrl2.layers.encoders import (
    check_hidden,
    features,
    observation_input,
    observations,
    unused_name,
)
from kerasrl2.layers.heads import StateDependentNoise, StateIndependentLogStd
from kerasrl2.layers.pictures import ENCODERS

POLICY_GAIN, VALUE_GAIN = 0.01, 1.0


@plain_numbers
def actor_critic(
    observation_shape,
    num_parameters,
    hidden=(64, 64),
    activation="tanh",
    shared=False,
    encoder="auto",
    gaussian_std=None,
    initial_log_std=0.0,
    num_classes=None,
):
    """A model with two outputs: parameters of a policy head, and the state's value.

    The last layers are linear, float32 even under mixed precision, orthogonal with gain
    0.01 for the policy (so that it starts out nearly uniform) and 1 for the value.

    Args:
        observation_shape: Tuple, one observation, `()` for a discrete one. Or the
            `gymnasium.Space` of observations, or their `ObservationSpec` (`NestedSpec`
            for nests): then they are scaled and encoded by what it says, see
            `encoder_for`.
        num_parameters: Integer >= 1, `head.num_parameters` (`2 D` for a Gaussian).
        hidden: Sequence of integers, units of the dense layers. With convolutions they
            follow the flattened features; the papers' are `(512,)` for `"nature_cnn"`
            and `(128,)` for `"grid_cnn"`.
        activation: String or callable, of the dense layers.
        shared: Boolean, whether policy and value share all layers but the last.
        encoder: `"mlp"`, `"impala_cnn"`, `"nature_cnn"`, `"small_cnn"` (pictures),
            `"grid_cnn"` (boards of cells), or `"auto"`, by the space or shape.
        gaussian_std: None: one linear layer makes all parameters. `"independent"`: it
            makes the first half, means; the log standard deviations are weights of
            their own (`StateIndependentLogStd`). `"dependent"`: a second linear layer
            makes them from the features. `"gsde"`: parameters of a
            `StateDependentGaussian`, whose features are those of the last layer.
        initial_log_std: Float, their first value with the three latter.
        num_classes: Integer >= 1, the number of discrete observations, which are
            one-hot encoded; with `observation_shape` `()` only.

    Returns:
        `keras.Model`, `[B, *observation_shape]` (or a nest) to `[parameters, value]`,
        float32 `[B, P]` and `[B, 1]`.

    Example:
    >>> model = actor_critic((4,), num_parameters=2)
    >>> model.output_shape
    [(None, 2), (None, 1)]
    """
    check_positive_integer("num_parameters", num_parameters)
    hidden = check_hidden(hidden)
    check_choice("encoder", encoder, ENCODERS)
    check_choice(
        "gaussian_std", gaussian_std, (None, "independent", "dependent", "gsde")
    )
    known = observations(observation_shape, num_classes)
    inputs = observation_input(known)
    encode = functools.partial(features, inputs, known, hidden, activation, encoder)
    policy_features = encode("encoder" if shared else "policy_encoder")
    value_features = policy_features if shared else encode("value_encoder")
    named = functools.partial(unused_name, inputs=inputs)
    parameters = policy_output(
        policy_features, num_parameters, gaussian_std, initial_log_std, named
    )
    value = dense(1, VALUE_GAIN, dtype="float32", name=named("value"))(value_features)
    return keras.Model(inputs, [parameters, value], name="actor_critic")


def policy_output(x, num_parameters, gaussian_std, initial_log_std, named):
    """The parameters of a policy head from features; arguments as of `actor_critic`."""

    def linear(size, name, **arguments):
        return dense(size, POLICY_GAIN, dtype="float32", name=named(name), **arguments)

    if gaussian_std is None:
        return linear(num_parameters, "policy")(x)
    if gaussian_std == "gsde":
        units = x.shape[-1]
        if num_parameters % (1 + units):
            raise ValueError(
                f"Expected `num_parameters` as a multiple of {1 + units}, the last "
                f"layer's units and one more, with gaussian_std='gsde'. Received: "
                f"num_parameters={num_parameters}"
            )
        mean = linear(num_parameters // (1 + units), "mean")(x)
        noise = StateDependentNoise(
            initial_log_std, dtype="float32", name=named("policy")
        )
        return noise([mean, x])
    if num_parameters % 2:
        raise ValueError(
            "Expected an even `num_parameters`, means and log standard deviations, "
            f"with gaussian_std={gaussian_std!r}. "
            f"Received: num_parameters={num_parameters}"
        )
    size = num_parameters // 2
    mean, policy = linear(size, "mean")(x), named("policy")
    if gaussian_std == "independent":
        return StateIndependentLogStd(initial_log_std, dtype="float32", name=policy)(
            mean
        )
    bias = keras.initializers.Constant(initial_log_std)
    log_std = linear(size, "log_std", bias_initializer=bias)(x)
    return layers.Concatenate(dtype="float32", name=policy)([mean, log_std])
