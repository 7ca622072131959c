"""Keras' callbacks that monitor a figure, and epochs that have none."""

import math

import keras

_MONITORS = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
)


class Callbacks(keras.callbacks.CallbackList):
    """Keras' list, but one that asks nobody about a figure that is NaN.

    In an epoch in which no episode ended there is no return, nor a loss before the
    first update. Keras' `EarlyStopping`, `ModelCheckpoint(save_best_only=True)` and
    `ReduceLROnPlateau` would take NaN for the best value so far, beyond which nothing
    improves, or for a failure. They are not called then: for them the epoch is neither.

    Callbacks with a method `on_episode_end` are told of every episode.
    """

    @property
    def ask_for_episodes(self):
        """Whether a callback has a method `on_episode_end`."""
        return any(hasattr(c, "on_episode_end") for c in self.callbacks)

    def on_episode_end(self, episode, logs):
        """Tells the callbacks that ask of an episode.

        Args:
            episode: Integer, episodes of this run before it.
            logs: Dictionary with its `return` and `episode_length`.
        """
        for callback in self.callbacks:
            if hasattr(callback, "on_episode_end"):
                callback.on_episode_end(episode, dict(logs))

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or {})
        for callback in self.callbacks:
            if not _waits(callback, logs):
                callback.on_epoch_end(epoch, logs)

    def on_train_batch_end(self, batch, logs=None):
        logs = dict(logs or {})
        for callback in self.callbacks:
            if not _waits(callback, logs):
                callback.on_train_batch_end(batch, logs=logs)


def _waits(callback, logs):
    """Whether a callback decides by a figure that is NaN."""
    if not isinstance(callback, _MONITORS):
        return False
    value = logs.get(callback.monitor)
    unknown = isinstance(value, float) and math.isnan(value)
    return unknown and getattr(callback, "save_best_only", True)
