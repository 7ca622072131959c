"""Target networks: frozen copies, and how they follow the network that is trained."""

import keras
import numpy as np
from keras import ops

from kerasrl2._checks import check_range
from kerasrl2._private import layers_of

_NOISE = 0x7A2E  # gives a copy other noise than its original has


def frozen_copy(network):
    """A network with weights of its own, equal to those of `network`, never trained.

    The copy is rebuilt from the layers' configurations and is not compiled. Every
    weight is copied, running statistics too; only the `noise_state` of `NoisyDense`
    layers is set anew, so that the two networks draw independent noise, as section
    3.1 of Fortunato et al. (2018), https://arxiv.org/abs/1706.10295, asks of a target
    network. `copy.trainable` is False: no optimizer sees its weights, and layers such
    as batch normalisation keep their statistics.

    Args:
        network: Built `keras.Model`. A subclassed one needs `get_config`, and
            `from_config` or a constructor that takes what it returns.

    Returns:
        `keras.Model`.

    Raises:
        ValueError: `network` has no weights yet or cannot be rebuilt.

    Example:
    >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> copy = frozen_copy(network)
    >>> bool(ops.all(copy.weights[0] == network.weights[0])), copy.trainable_weights
    (True, [])
    """
    if not isinstance(network, keras.Model) or not network.built:
        raise ValueError(
            "Expected a built `keras.Model`: call it once. "
            f"Received: {type(network).__name__}"
        )
    try:
        copy = _rebuild(network)
    except Exception as error:
        raise ValueError(f"{_EXPECTED} Received: {network.name!r}") from error
    for old, new in _pairs(network, copy):
        new.assign(old)
    for layer in layers_of(copy):
        state = getattr(layer, "noise_state", None)
        if state is not None:
            seed, counter = (int(x) for x in ops.convert_to_numpy(state))
            words = np.random.SeedSequence([seed % 2**32, counter, _NOISE])
            state.assign([int(words.generate_state(1)[0] >> 1), 0])
    copy.trainable = False
    return copy


def update_target(target, online, tau):
    """Moves a target network towards the network that is trained.

    `theta' <- theta' + tau (theta - theta')`, section 7 of Lillicrap et al. (2016),
    https://arxiv.org/abs/1509.02971. Applies to all floating-point weights, running
    statistics too. Integer weights (such as the `noise_state` of `NoisyDense`) stay.
    For use eagerly, in graphs and under XLA; nothing receives a gradient.

    Args:
        target: `keras.Model`, changed in place; for instance a `frozen_copy`.
        online: `keras.Model` with weights of the same shapes, in the same order.
        tau: Float in (0, 1] or scalar tensor. 1 copies exactly.

    Example:
    >>> online = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> target = frozen_copy(online)
    >>> value = online.weights[1].assign([4.0])
    >>> update_target(target, online, tau=0.25)
    >>> float(target.weights[1][0])
    1.0
    """
    check_range("tau", tau, 0.0, 1.0, open_low=True)
    for new, old in _pairs(online, target):
        if keras.backend.is_float_dtype(old.dtype):
            rate, new = ops.cast(tau, old.dtype), ops.convert_to_tensor(new)
            moved = old + rate * (new - old)
            old.assign(ops.where(rate == 1.0, new, moved))


_EXPECTED = (
    "Expected a network that its configuration can rebuild: functional, sequential, or "
    "a subclass whose `get_config` returns what its constructor takes and whose layers "
    "are all built by calling it on one input."
)


def _rebuild(network):
    # Without what `compile` set, which a clone would get too.
    if isinstance(network, keras.Sequential):
        x = network.inputs[0]
        first = keras.Input(batch_shape=x.shape, dtype=x.dtype)
        plain = keras.Sequential([first, *network.layers], name=network.name)
        return keras.models.clone_model(plain, recursive=True)
    if isinstance(getattr(network, "inputs", None), list):  # functional
        plain = keras.Model(network.input, network.output, name=network.name)
        return keras.models.clone_model(plain, recursive=True)
    copy = type(network).from_config(network.get_config())
    copy.build_from_config(network.get_build_config())
    return copy


def _pairs(source, copy):
    """Weights of two networks that belong together, checked one by one."""
    shapes = [
        [tuple(weight.shape) for weight in network.weights]
        for network in (source, copy)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{_EXPECTED} Received: {source.name!r} with weights of shapes "
            f"{shapes[0]}, and a copy with {shapes[1]}"
        )
    return list(zip(source.weights, copy.weights, strict=True))
