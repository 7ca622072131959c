"""The best agent of a run by its evaluations, kept beside the last one."""

import json
import math
import os
import time
from pathlib import Path

import keras

from kerasrl2.cli.configuration import replace_text
from kerasrl2.cli.runs import BEST, BEST_RECORD, read_best


class KeepBest(keras.callbacks.Callback):
    """Saves the agent whenever an evaluation is as good as the best one so far.

    Of equal evaluations the later one counts: that agent has learned for longer. What
    the best was is kept beside the agent, so that a run knows it after SIGKILL too,
    also where it goes on from an earlier checkpoint.

    Args:
        directory: Path of the run.
        episodes: Integer, of each evaluation.

    Attributes:
        best: Dictionary with `return`, `env_steps` and `episodes`, or None.
        latest: Float, the return of the latest evaluation.
        count: Integer, evaluations of this process.
        seconds: Float, what they took, with all else between the last block of an epoch
            and its end.
    """

    def __init__(self, directory, episodes):
        super().__init__()
        self._directory, self._episodes = Path(directory), episodes
        self.best, self.count, self.seconds = None, 0, 0.0
        self.latest = math.nan
        self._since = 0.0

    def on_train_begin(self, logs=None):
        self.best = read_best(self._directory)

    def on_train_batch_end(self, batch, logs=None):
        self._since = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get("val_return", math.nan)
        if math.isnan(value):
            return
        self.latest, self.count = value, self.count + 1
        self.seconds += time.perf_counter() - self._since
        if self.best is None or value >= self.best["return"]:
            self.best = {
                "return": float(value),
                "env_steps": int(logs["env_steps"]),
                "episodes": self._episodes,
            }
            save_whole(self.model, self._directory / BEST)
            replace_text(self._directory / BEST_RECORD, json.dumps(self.best) + "\n")


def save_whole(agent, path):
    """Saves an agent; a killed process leaves the old file or the new one."""
    aside = path.with_name(f".writing-{path.name}")
    agent.save(aside)
    os.replace(aside, path)
