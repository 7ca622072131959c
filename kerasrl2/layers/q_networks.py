"""Networks from observations to the values of discrete actions."""

import functools

import keras
from keras import layers

from kerasrl2._checks import check_choice, check_positive_integer, plain_numbers
from kerasrl2.layers.cells import cell_of, output_size
from kerasrl2.layers.encoders import (
    check_hidden,
    features,
    observation_input,
    observations,
    unused_name,
)
from kerasrl2.layers.pictures import ENCODERS
from kerasrl2.layers.recurrent import RecurrentNetwork
from kerasrl2.layers.values import DuelingHead, FractionEmbedding, value_layer


@plain_numbers
def q_network(
    observation_shape,
    num_actions,
    hidden=(64, 64),
    activation="relu",
    encoder="auto",
    num_classes=None,
    dueling=False,
    noisy=False,
    sigma=0.5,
    num_atoms=None,
    fractions=False,
    name="q_network",
):
    """A model of action values, or of their distributions.

    Its head is the last hidden layer and the output layer. `noisy` makes both
    `NoisyDense`; `dueling` gives each stream a last hidden layer of its own. So images
    with `hidden=(512,)` get the networks of Mnih et al. (2015), Wang et al. (2016),
    Fortunato et al. (2018), Hessel et al. (2018) and Dabney et al. (2018). Kernels that
    are not noisy are orthogonal, gain sqrt(2), for outputs 1. Outputs (with `dueling`,
    the head) are float32 even under mixed precision.

    Args:
        observation_shape: Tuple, one observation, `()` for a discrete one. Or the
            `gymnasium.Space` of observations, or their `ObservationSpec` (`NestedSpec`
            for nests): then they are scaled and encoded by what it says, see
            `encoder_for`.
        num_actions: Integer >= 1, the number of actions `A`.
        hidden: Sequence of integers >= 1, units of the dense layers; they follow the
            convolutions, if any.
        activation: String or callable, of the dense layers.
        encoder: `"mlp"`, `"nature_cnn"`, `"small_cnn"` (pictures), `"grid_cnn"` (boards
            of cells), or `"auto"`, by the space or shape.
        num_classes: Integer >= 1, the number of discrete observations, which are
            one-hot encoded; with `observation_shape` `()` only.
        dueling: Boolean, whether the head is a `DuelingHead`.
        noisy: Boolean, whether the layers of the head are `NoisyDense`.
        sigma: Float >= 0, the noise's initial size, `sigma_0`.
        num_atoms: Integer >= 1 or None. `M` outputs per action: logits of a categorical
            distribution, or quantiles.
        fractions: Boolean, whether the model takes fractions and returns their
            quantiles, as implicit quantile networks do (`FractionEmbedding` in front of
            the head).
        name: String.

    Returns:
        `keras.Model`, `[B, *observation_shape]` to float32 `[B, A]`, or with
        `num_atoms` `[B, A, M]`; with `fractions`, `[observation, fractions [B, K]]` to
        `[B, A, K]`.

    Example:
    >>> q_network((84, 84, 4), num_actions=6, hidden=(512,), num_atoms=51).output_shape
    (None, 6, 51)
    >>> model = q_network((4,), num_actions=2, dueling=True, fractions=True)
    >>> model([keras.ops.zeros([3, 4]), keras.ops.ones([3, 8]) / 2]).shape
    TensorShape([3, 2, 8])
    """
    check_positive_integer("num_actions", num_actions)
    hidden = check_hidden(hidden)
    check_choice("encoder", encoder, ENCODERS)
    known = observations(observation_shape, num_classes)
    if fractions and num_atoms is not None:
        raise ValueError(
            "Expected either `num_atoms` or `fractions`. "
            f"Received: num_atoms={num_atoms}, fractions={fractions}"
        )
    *trunk, last = hidden or (None,)
    inputs = observation_input(known)
    x = features(inputs, known, tuple(trunk), activation, encoder, "encoder")
    named = functools.partial(unused_name, inputs=inputs)
    if fractions:
        asked = keras.Input([None], name=named("fractions"))
        x = FractionEmbedding(name=named("embedding"))([x, asked])
        inputs = [inputs, asked]
    x = _head(x, num_actions, num_atoms, last, activation, dueling, noisy, sigma, named)
    if fractions:
        x = layers.Permute((2, 1), dtype="float32", name=named("quantiles"))(x)
    return keras.Model(inputs, x, name=name)


@plain_numbers
def recurrent_q_network(
    observation_shape,
    num_actions,
    cell="lstm",
    units=64,
    hidden=(64, 64),
    activation="relu",
    encoder="auto",
    num_classes=None,
    dueling=False,
    noisy=False,
    sigma=0.5,
    num_atoms=None,
    name="recurrent_q_network",
):
    """A model of action values that remembers, from observations and its state.

    That of `q_network` with a recurrent cell in front of its head, as in Kapturowski et
    al. (2019), https://openreview.net/forum?id=r1lyTjAqYX.

    Args:
        observation_shape: As of `q_network`.
        num_actions: Integer >= 1, the number of actions `A`.
        cell: `"lstm"`, `"gru"`, a recurrent cell of Keras, or a list of them, one above
            the other. A copy of it is used.
        units: Integer >= 1, units of a cell with a name.
        hidden: Sequence of integers, units of the dense layers; the last one follows
            the cell.
        activation: As of `q_network`.
        encoder: As of `q_network`.
        num_classes: As of `q_network`.
        dueling: As of `q_network`.
        noisy: As of `q_network`.
        sigma: As of `q_network`.
        num_atoms: As of `q_network`.
        name: String.

    Returns:
        `RecurrentNetwork`, `[B, *observation_shape]` (or a nest) and its state to
        `(values, state)`: float32 `[B, A]`, or with `num_atoms` `[B, A, M]`, and
        `[B, ...]`.

    Example:
    >>> network = recurrent_q_network((4,), 2, cell="gru", units=8)
    >>> values, (state,) = network(keras.ops.zeros([5, 4]))
    >>> tuple(values.shape), tuple(state.shape)
    ((5, 2), (5, 8))
    """
    check_positive_integer("num_actions", num_actions)
    hidden, cell = check_hidden(hidden), cell_of(cell, units)
    check_choice("encoder", encoder, ENCODERS)
    known = observations(observation_shape, num_classes)
    *trunk, last = hidden or (None,)
    inputs = observation_input(known)
    x = features(inputs, known, tuple(trunk), activation, encoder, "encoder")
    if len(x.shape) != 2:
        x = layers.Flatten()(x)
    outputs = keras.Input([output_size(cell)], name="memory")
    values = _head(
        outputs, num_actions, num_atoms, last, activation, dueling, noisy, sigma,
        lambda name: name,
    )  # fmt: skip
    return RecurrentNetwork(
        keras.Model(inputs, x, name="encoder"),
        cell,
        keras.Model(outputs, values, name="outputs"),
        name=name,
    )


def _head(x, num_actions, num_atoms, units, activation, dueling, noisy, sigma, named):
    """`[..., F]` to float32 `[..., A]` or `[..., A, M]`."""
    if dueling:
        return DuelingHead(
            num_actions, num_atoms, units, activation, noisy, sigma,
            dtype="float32", name=named("dueling"),
        )(x)  # fmt: skip
    arguments = {"noisy": noisy, "sigma": sigma}
    if units is not None:
        x = value_layer(units, activation, named("hidden"), **arguments)(x)
    if num_atoms is not None:
        check_positive_integer("num_atoms", num_atoms)
    outputs = num_actions * (num_atoms or 1)
    x = value_layer(outputs, None, named("values"), dtype="float32", **arguments)(x)
    if num_atoms is None:
        return x
    return layers.Reshape(
        (num_actions, num_atoms), dtype="float32", name=named("atoms")
    )(x)
