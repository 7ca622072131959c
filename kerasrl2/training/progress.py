"""Progress of `fit`: a live bar on a terminal, else one plain line per epoch."""

import sys

import keras

from kerasrl2._lines import Table, compact, figure


def progress_callback(verbose):
    """The callback for `verbose`: none, `ProgressBar` or `EpochLines`.

    Args:
        verbose: 0, 1, 2 or `"auto"` (1 if the output is a terminal, else 2). In a
            notebook, which has no lines to draw over, 1 is as 2.

    Returns:
        List of at most one Keras callback.
    """
    if verbose not in (0, 1, 2, "auto", True, False):
        raise ValueError(f"Expected `verbose` 0, 1, 2 or 'auto'. Received: {verbose!r}")
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    if verbose == 1 and "ipykernel" in sys.modules and not sys.stdout.isatty():
        verbose = 2
    return [] if not verbose else [ProgressBar() if verbose == 1 else EpochLines()]


class EpochLines(keras.callbacks.Callback):
    """Prints a header and one line per epoch, for logs, pipes and notebooks.

    Example:
    >>> lines = EpochLines()
    >>> lines.set_params({"epochs": 2, "compiles": False})
    >>> lines.on_train_begin()
    >>> lines.on_epoch_end(0, {"env_steps": 200, "return": 17.33})
    epoch       steps   return
      1/2         200    17.33
    """

    def on_train_begin(self, logs=None):
        self._table = None
        if self.params.get("compiles", True):
            print("compiling ...", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        if self._table is None:
            self._table = Table(self.params["epochs"], logs)
            print(self._table.header)
        print(self._table.row(epoch + 1, logs), flush=True)


class ProgressBar(keras.callbacks.Callback):
    """A live bar (rich) with times, speed and return, and a line per epoch above it.

    From left to right: the env steps of this call of `fit` and how many there are to
    be, the time since its beginning and the time that is left, env steps a second
    (evaluations included), the mean return of this epoch.

    Example:
    >>> [type(callback).__name__ for callback in progress_callback(verbose=1)]
    ['ProgressBar']
    """

    def on_train_begin(self, logs=None):
        from rich import progress

        self._table = None
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.fields[count]}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("<"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[figures]}"),
            expand=True,
        )
        total = self.params["steps"]
        compiles = self.params.get("compiles", True)
        self._task = self._progress.add_task(
            "compiling" if compiles else "training",
            total=total,
            figures="",
            count=f"0/{compact(total)}",
        )
        self._begin = int(self.model.env_steps)
        self._progress.start()

    def on_train_batch_end(self, batch, logs=None):
        done = logs["env_steps"] - self._begin
        task = self._progress.tasks[0]
        parts = [f"{task.speed:,.0f} steps/s"] if task.speed else []
        parts += [f"return {figure(logs['return'])}"] if "return" in logs else []
        self._progress.update(
            self._task,
            description="training",
            completed=done,
            count=f"{compact(done)}/{compact(task.total)}",
            figures="  ".join(parts),
        )

    def on_epoch_end(self, epoch, logs=None):
        lines = []
        if self._table is None:
            self._table = Table(self.params["epochs"], logs)
            lines = [self._table.header]
        for line in (*lines, self._table.row(epoch + 1, logs)):
            self._progress.console.print(line, highlight=False)

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


def tell_of_stop():
    """Tells, on standard error, that a signal was heard while programs are made."""
    print("stopping ...", file=sys.stderr, flush=True)


def announce(verbose, path, env, env_steps):
    """Prints that a run continues from a checkpoint."""
    if verbose:
        episodes = "" if env.in_graph else f"; {env.id} begins new episodes"
        print(f"resumed at {env_steps:,} steps from {path}{episodes}", flush=True)
