"""Tests on the returns of training episodes that say when a task is solved."""

import collections
import math

import keras

from kerasrl2._checks import check_choice, check_positive_integer, check_range


class StopWhenSolved(keras.callbacks.Callback):
    """Stops training once the returns of its episodes pass a threshold.

    Two figures are kept of all training episodes, one by one, in the order in which
    they end, and both are logged at the end of epochs:

    - `mean_return`, the mean of the last `window` episodes: this is how environments
      define "solved". There is none before there are so many.
    - `running_return`, `rate * return + (1 - rate) * running_return`, from 0. It lags:
      of episodes that all return 200 it takes 72 to pass 195.

    The first time that the chosen one is high enough, training stops, with the
    iteration of the loop in which that episode ended. The returns are those of a policy
    that explores; `StopAtReturn` goes by an evaluation. A further `fit` goes on
    counting and does not stop again.

    To see every episode, the compiled loop returns after each iteration in which one
    ends, which makes it slower where episodes are short.

    Args:
        threshold: Float, the return to reach: `mean_return >= threshold`, or
            `running_return > threshold`.
        criterion: `"mean"` or `"running"`, which of the two stops.
        window: Integer, episodes of the mean.
        rate: Float in (0, 1], of the running return.

    Attributes:
        solved_at: Dictionary of `"mean"` and `"running"` to the number of episodes
            after which the criterion was first met, or None.
        episodes: Integer, episodes so far.

    Example:
    >>> callback = StopWhenSolved(195.0, criterion="running")
    >>> for episode in range(100):
    ...     callback.on_episode_end(episode, {"return": 200.0})
    >>> callback.solved_at
    {'mean': 100, 'running': 72}
    """

    def __init__(self, threshold, criterion="mean", window=100, rate=0.05):
        super().__init__()
        check_choice("criterion", criterion, ("mean", "running"))
        check_range("threshold", threshold, -math.inf, math.inf)
        check_positive_integer("window", window)
        check_range("rate", rate, 0.0, 1.0, open_low=True)
        self.threshold, self.criterion = threshold, criterion
        self.window, self.rate = window, rate
        self.solved_at = {"mean": None, "running": None}
        self.episodes, self._running = 0, 0.0
        self._latest = collections.deque(maxlen=window)

    def on_episode_end(self, episode, logs):
        """Takes the `return` of an episode."""
        self.episodes += 1
        self._running += self.rate * (logs["return"] - self._running)
        self._latest.append(logs["return"])
        figures = self._figures()
        met = {
            "mean": figures["mean_return"] >= self.threshold,  # NaN is not
            "running": figures["running_return"] > self.threshold,
        }
        for name in met:
            if met[name] and self.solved_at[name] is None:
                self.solved_at[name] = self.episodes
                if name == self.criterion and self.model is not None:
                    self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs.update(self._figures())

    def get_state(self):
        """The part of a checkpoint for this callback; see `TrainingCheckpoint`."""
        return {
            "solved_at": self.solved_at,
            "episodes": self.episodes,
            "running": self._running,
            "latest": list(self._latest),
        }

    def set_state(self, state):
        self.solved_at, self.episodes = dict(state["solved_at"]), state["episodes"]
        self._running = state["running"]
        self._latest = collections.deque(state["latest"], maxlen=self.window)

    def _figures(self):
        full = len(self._latest) == self.window
        mean = math.fsum(self._latest) / self.window if full else float("nan")
        return {"mean_return": mean, "running_return": self._running}
