"""Progress of `fit`: a live bar on a terminal, else one plain line per epoch."""

import math
import sys

import keras


def progress_callback(verbose):
    """The callback for `verbose`: none, `ProgressBar` or `EpochLines`.

    Args:
        verbose: 0, 1, 2 or `"auto"` (1 if the output is a terminal, else 2).

    Returns:
        List of at most one Keras callback.
    """
    if verbose not in (0, 1, 2, "auto", True, False):
        raise ValueError(f"Expected `verbose` 0, 1, 2 or 'auto'. Received: {verbose!r}")
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    return [] if not verbose else [ProgressBar() if verbose == 1 else EpochLines()]


def describe(logs):
    """The most important figures of an epoch's logs, as one string."""
    parts = []
    for name, digits in (
        ("return", 1),
        ("val_return", 1),
        ("episode_length", 0),
        ("entropy", 3),
        ("kl", 4),
        ("explained_variance", 2),
    ):
        if name in logs:
            value = logs[name]
            text = "-" if math.isnan(value) else f"{value:.{digits}f}"
            parts.append(f"{name.replace('_', ' ')} {text}")
    if "steps_per_second" in logs:
        parts.append(f"{logs['steps_per_second']:,.0f} steps/s")
    if "learner_waits" in logs:  # there are workers
        parts.append(f"{logs['updates_per_second']:,.0f} updates/s")
        parts.append(f"lag {logs['lag']:.1f}  waits {logs['learner_waits']:.0%}")
    return "  ".join(parts)


class EpochLines(keras.callbacks.Callback):
    """Prints one line per epoch, for logs and pipes."""

    def on_epoch_end(self, epoch, logs=None):
        steps = f"{int(logs['env_steps']):,} steps"
        epochs = self.params["epochs"]
        print(f"epoch {epoch + 1}/{epochs}  {steps}  {describe(logs)}", flush=True)


class ProgressBar(keras.callbacks.Callback):
    """A live bar (rich) of env steps with the latest return and speed."""

    def on_train_begin(self, logs=None):
        from rich import progress

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[figures]}"),
        )
        self._task = self._progress.add_task(
            "compiling", total=self.params["steps"], figures=""
        )
        self._begin = int(self.model.env_steps)
        self._progress.start()

    def on_train_batch_end(self, batch, logs=None):
        figures = describe({k: logs[k] for k in ("return",) if k in logs})
        self._progress.update(
            self._task,
            description="training",
            completed=logs["env_steps"] - self._begin,
            figures=figures,
        )

    def on_epoch_end(self, epoch, logs=None):
        self._progress.console.print(
            f"epoch {epoch + 1}/{self.params['epochs']}  "
            f"{int(logs['env_steps']):,} steps  {describe(logs)}",
            highlight=False,
        )

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Restores the terminal; also called when training is interrupted."""
        if getattr(self, "_progress", None) is not None:
            self._progress.stop()
            self._progress = None


def tell_of_no_end(env, steps, seconds, limit):
    """Tells, on standard error, that an evaluation waits for an episode to end."""
    limit = "no limit" if limit is None else f"at {limit:,} steps it is an error"
    print(
        f"evaluation of {env.id}: no episode has ended for {seconds:.0f} s, the "
        f"longest has {steps:,} steps; {limit}",
        file=sys.stderr,
        flush=True,
    )


def announce(verbose, path, env, env_steps):
    """Prints that a run continues from a checkpoint."""
    if verbose:
        episodes = "" if env.in_graph else f"; {env.id} begins new episodes"
        print(f"resumed at {env_steps:,} steps from {path}{episodes}", flush=True)
