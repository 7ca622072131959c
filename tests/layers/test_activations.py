"""Tests of `kerasrl2.layers.activations`."""

import keras
import pytest

from kerasrl2 import layers
from kerasrl2.layers.activations import activation_of


@pytest.mark.parametrize("name", ["relu", "tanh", None, keras.ops.sin])
def test_names_and_functions(name):
    assert activation_of(name) is keras.activations.get(name)


@pytest.mark.parametrize(
    "make",
    [
        activation_of,
        lambda name: layers.NoisyDense(3, name),
        lambda name: layers.DuelingHead(2, units=3, activation=name),
        lambda name: layers.mlp((3,), (4,), name),
        lambda name: layers.actor_critic((3,), 2, (4,), name),
        lambda name: layers.q_network((3,), 2, (4,), name),
        lambda name: layers.q_network((3,), 2, (4,), name, noisy=True),
    ],
)
def test_an_unknown_name_gets_the_nearest(make):
    message = r"Expected `activation` as .* Received: 'tanhh'. Did you mean 'tanh'"
    with pytest.raises(ValueError, match=message):
        make("tanhh")
