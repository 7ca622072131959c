"""A run that ends before its time."""

import keras


class StopAfter(keras.callbacks.Callback):
    """Ends a run at the end of an epoch, as if it had been killed there.

    Args:
        steps: Integer, env steps at which it ends.
    """

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_epoch_end(self, epoch, logs=None):
        if logs["env_steps"] >= self.steps:
            self.model.stop_training = True
