"""States of callbacks in checkpoints, so that resumed runs continue exactly."""

import warnings

import keras

_BEST = "best", "wait"
_KERAS = {  # callbacks of Keras with a state, and its attributes: numbers or None
    keras.callbacks.EarlyStopping: (*_BEST, "best_epoch", "stopped_epoch"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.ReduceLROnPlateau: (*_BEST, "cooldown_counter"),
}


def states_of(callbacks):
    """JSON-serializable list of `[class name, state]` of callbacks with a state.

    The state is the result of `get_state()`. Keras' own callbacks have no such method:
    theirs is the best value so far and the number of epochs since then.
    """
    return [
        [type(callback).__name__, _state_of(callback)]
        for callback in callbacks
        if _has_state(callback)
    ]


def restore_states(callbacks, states):
    """Sets the states that `states_of` returned; those of one class in order.

    Callbacks without an entry keep their state.
    """
    states = list(states)
    for callback in filter(_has_state, callbacks):
        name = type(callback).__name__
        entry = next((state for state in states if state[0] == name), None)
        if entry is not None:
            states.remove(entry)
            _set_state(callback, entry[1])


def _has_state(callback):
    return hasattr(callback, "get_state") or bool(_names(callback))


def _names(callback):
    """Names of the attributes with the state of a callback of Keras."""
    return next((n for kind, n in _KERAS.items() if isinstance(callback, kind)), ())


def _state_of(callback):
    if hasattr(callback, "get_state"):
        return callback.get_state()
    return {name: getattr(callback, name) for name in _names(callback)}


def _set_state(callback, state):
    if hasattr(callback, "set_state"):
        callback.set_state(state)
        return
    for name in _names(callback):
        setattr(callback, name, state[name])
    if getattr(callback, "restore_best_weights", False):
        warnings.warn(
            "The best weights that `EarlyStopping(restore_best_weights=True)` kept in "
            "memory are not in checkpoints: it restores those of later epochs only. "
            "`ModelCheckpoint(save_best_only=True)` keeps them on disk.",
            stacklevel=2,
        )
