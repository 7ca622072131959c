"""What callbacks must remember for a run to go on as if it had not stopped."""

import warnings

import keras

_BEST = "best", "wait"
_KERAS = {  # callbacks of Keras that remember, and the names of what: numbers or None
    keras.callbacks.EarlyStopping: (*_BEST, "best_epoch", "stopped_epoch"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.ReduceLROnPlateau: (*_BEST, "cooldown_counter"),
}


def states_of(callbacks):
    """List of `[class name, state]` that JSON can hold, of callbacks that have one.

    That is what their `get_state()` returns. Keras' own have no such method: of them
    it is the best value so far and how long ago that was.
    """
    return [
        [type(callback).__name__, _state_of(callback)]
        for callback in callbacks
        if _remembers(callback)
    ]


def restore_states(callbacks, states):
    """Gives callbacks what `states_of` found, those of one class in turn.

    Callbacks that were not there before keep the state they have.
    """
    states = list(states)
    for callback in filter(_remembers, callbacks):
        name = type(callback).__name__
        found = next((state for state in states if state[0] == name), None)
        if found is not None:
            states.remove(found)
            _set_state(callback, found[1])


def _remembers(callback):
    return hasattr(callback, "get_state") or bool(_names(callback))


def _names(callback):
    """Attributes that a callback of Keras remembers by."""
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
            "memory are not in checkpoints: it restores those that are still to come. "
            "`ModelCheckpoint(save_best_only=True)` keeps them on disk.",
            stacklevel=2,
        )
