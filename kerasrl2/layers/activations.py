"""Activations by name."""

import keras

from kerasrl2._checks import check_choice

_NO_ACTIVATIONS = "deserialize", "get", "serialize"


def activation_function(activation):
    """The function that `activation` names, as Keras knows it.

    Args:
        activation: String, callable or None (linear).

    Raises:
        ValueError: There is none of that name.
    """
    try:
        return keras.activations.get(activation)
    except (TypeError, ValueError):
        names = [name for name in dir(keras.activations) if not name.startswith("_")]
        check_choice("activation", activation, sorted({*names} - {*_NO_ACTIVATIONS}))
        raise
