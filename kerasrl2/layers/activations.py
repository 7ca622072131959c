"""Activations by their names."""

import inspect

import keras

from kerasrl2._checks import did_you_mean

_NOT_ACTIVATIONS = {"deserialize", "get", "serialize"}


def activation_of(activation):
    """The function of a Keras activation.

    Args:
        activation: String, callable, or None for none.

    Raises:
        ValueError: There is none of that name.
    """
    try:
        return keras.activations.get(activation)
    except (TypeError, ValueError) as error:
        names = sorted(
            name
            for name, made in vars(keras.activations).items()
            if inspect.isfunction(made) and name not in _NOT_ACTIVATIONS
        )
        hint = did_you_mean(activation, names) or f". Known are: {', '.join(names)}"
        raise ValueError(
            "Expected `activation` as the name of a Keras activation or a function. "
            f"Received: {activation!r:.60}{hint}"
        ) from error
