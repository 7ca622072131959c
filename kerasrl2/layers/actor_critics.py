"""Networks from observations to the parameters of a policy and to a value."""

import functools

import keras
from keras import layers

from kerasrl2._checks import check_choice, check_positive_integer, plain_numbers
from kerasrl2.layers.cells import ParallelCells, cell_of, copy_of, output_size
from kerasrl2.layers.dense import dense
from kerasrl2.layers.encoders import (
    check_hidden,
    features,
    observation_input,
    observations,
    unused_name,
)
from kerasrl2.layers.heads import StateDependentNoise, StateIndependentLogStd
from kerasrl2.layers.pictures import ENCODERS
from kerasrl2.layers.recurrent import RecurrentNetwork

POLICY_GAIN, VALUE_GAIN = 0.01, 1.0
_GAUSSIAN = (None, "independent", "dependent", "gsde")


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
    intrinsic_value=False,
    num_values=1,
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
        intrinsic_value: Boolean, whether there is a third output `[B, 1]` like the
            value, on the same features, for an agent with `intrinsic_reward`.
        num_values: Integer >= 1, how many values; one for each action, for instance.

    Returns:
        `keras.Model`, `[B, *observation_shape]` (or a nest) to `[parameters, value]`,
        float32 `[B, P]` and `[B, num_values]`.

    Example:
    >>> model = actor_critic((4,), num_parameters=2)
    >>> model.output_shape
    [(None, 2), (None, 1)]
    """
    check_positive_integer("num_parameters", num_parameters)
    check_positive_integer("num_values", num_values)
    hidden = check_hidden(hidden)
    check_choice("encoder", encoder, ENCODERS)
    check_choice("gaussian_std", gaussian_std, _GAUSSIAN)
    known = observations(observation_shape, num_classes)
    inputs = observation_input(known)
    encode = functools.partial(features, inputs, known, hidden, activation, encoder)
    policy_features = encode("encoder" if shared else "policy_encoder")
    value_features = policy_features if shared else encode("value_encoder")
    named = functools.partial(unused_name, inputs=inputs)
    parameters = policy_output(
        policy_features, num_parameters, gaussian_std, initial_log_std, named
    )
    names = ["value", "intrinsic_value"] if intrinsic_value else ["value"]
    values = [
        dense(num_values, VALUE_GAIN, dtype="float32", name=named(name))(value_features)
        for name in names
    ]
    return keras.Model(inputs, [parameters, *values], name="actor_critic")


@plain_numbers
def recurrent_actor_critic(
    observation_shape,
    num_parameters,
    cell="lstm",
    units=64,
    hidden=(64, 64),
    activation="tanh",
    shared=False,
    encoder="auto",
    gaussian_std=None,
    initial_log_std=0.0,
    num_classes=None,
):
    """A network that remembers, from observations and its state to policy and value.

    Dense layers, or convolutions, a recurrent cell, and output layers like those of
    `actor_critic`.

    Args:
        observation_shape: As of `actor_critic`.
        num_parameters: Integer >= 1, `head.num_parameters`.
        cell: `"lstm"`, `"gru"`, a recurrent cell of Keras, or a list of them, one above
            the other. A copy of it is used.
        units: Integer >= 1, units of a cell with a name.
        hidden: Sequence of integers, units of the dense layers in front of the cell.
        activation: String or callable, of the dense layers.
        shared: Boolean, whether policy and value share the cell and what is in front of
            it. If not, the value has all of its own: `ParallelCells`.
        encoder: As of `actor_critic`.
        gaussian_std: As of `actor_critic`.
        initial_log_std: As of `actor_critic`.
        num_classes: As of `actor_critic`.

    Returns:
        `RecurrentNetwork`, `[B, *observation_shape]` (or a nest) and its state to
        `(parameters, value, state)`, float32 `[B, P]`, `[B, 1]` and `[B, ...]`.

    Example:
    >>> network = recurrent_actor_critic((4,), 2, cell="gru", units=8, shared=True)
    >>> parameters, value, state = network(keras.ops.zeros([5, 4]))
    >>> [tuple(x.shape) for x in (parameters, value, *state)]
    [(5, 2), (5, 1), (5, 8)]
    """
    check_positive_integer("num_parameters", num_parameters)
    hidden = check_hidden(hidden)
    check_choice("encoder", encoder, ENCODERS)
    check_choice("gaussian_std", gaussian_std, _GAUSSIAN)
    cell = cell_of(cell, units)
    known = observations(observation_shape, num_classes)
    inputs = observation_input(known)
    encode = functools.partial(features, inputs, known, hidden, activation, encoder)
    if shared:
        x, width = encode("encoder"), output_size(cell)
    else:
        parts = [encode("policy_encoder"), encode("value_encoder")]
        x, width = layers.Concatenate(name="features")(parts), 2 * output_size(cell)
        cell = ParallelCells([cell, copy_of(cell, "value")])
    outputs = keras.Input([width], name="memory", dtype=keras.config.floatx())
    of_policy, of_value = [outputs] * 2 if shared else keras.ops.split(outputs, 2, -1)
    parameters = policy_output(
        of_policy, num_parameters, gaussian_std, initial_log_std, lambda name: name
    )
    value = dense(1, VALUE_GAIN, dtype="float32", name="value")(of_value)
    return RecurrentNetwork(
        keras.Model(inputs, x, name="encoder"),
        cell,
        keras.Model(outputs, [parameters, value], name="outputs"),
        name="recurrent_actor_critic",
    )


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
