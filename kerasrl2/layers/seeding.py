"""Reproducible weights."""

import numpy as np

from kerasrl2._private import layers_of

_INITIALIZERS = [  # names of weights in layers of Keras, and of their initialisers
    ("kernel", "kernel_initializer"),
    ("kernel", "depthwise_initializer"),
    ("recurrent_kernel", "recurrent_initializer"),
    ("depthwise_kernel", "depthwise_initializer"),
    ("pointwise_kernel", "pointwise_initializer"),
    ("bias", "bias_initializer"),
    ("embeddings", "embeddings_initializer"),
]


def seed_weights(model, seed):
    """Draws the random weights of a model anew, from one seed.

    Every layer gets a seed of its own; initialisers without randomness are left alone.
    The noise of `NoisyDense` layers starts anew too, each from a seed of its own.

    Args:
        model: Built `keras.Model` whose layers keep their initialisers in attributes
            such as `kernel_initializer`, as Keras' own do.
        seed: Integer >= 0.

    Example:
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> seed_weights(model, seed=1)
    >>> first = model.get_weights()[0]
    >>> seed_weights(model, seed=1)
    >>> bool((model.get_weights()[0] == first).all())
    True
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(4096) >> 1)
    for layer in layers_of(model):
        for name, attribute in _INITIALIZERS:
            initializer = getattr(layer, attribute, None)
            weight = getattr(layer, name, None)
            if initializer is None or weight is None:
                continue
            config = initializer.get_config()
            if "seed" in config:
                fresh = type(initializer).from_config(
                    {**config, "seed": int(next(seeds))}
                )
                weight.assign(fresh(weight.shape, dtype=weight.dtype))
        if getattr(layer, "noise_state", None) is not None:
            layer.noise_state.assign([int(next(seeds)), 0])
