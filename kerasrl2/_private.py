"""stand-in until the branch h1 is merged"""

import keras


def layers_of(network):
    return network._flatten_layers() if isinstance(network, keras.Layer) else []


def call_concrete(function, captured=None):
    captured = function.captured_inputs if captured is None else captured

    def call(*tensors):
        return function._call_flat(list(tensors), captured)

    return call
