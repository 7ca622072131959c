"""Runs a compiled loop in blocks and reports through Keras callbacks."""

import time

import keras

from kerasrl2.training.episodes import mean_return_and_length, zero_totals
from kerasrl2.training.progress import ProgressBar, progress_callback

BLOCK_SECONDS = 0.5


def fit_loop(
    agent, loop, steps, epochs, callbacks, validation, verbose, initial_epoch=0
):
    """What `Agent.fit` does once its arguments are made into objects.

    The loop runs in blocks of about half a second, never beyond an epoch's end, so that
    callbacks, the progress bar and Ctrl-C stay responsive. To callbacks a block is what
    a batch is to supervised training.

    Args:
        agent: `Agent`.
        loop: Its training loop: `run(num_iterations)`, `steps_per_iteration`.
        steps: Integer, env steps, rounded up to whole iterations.
        epochs: Integer, how many reports.
        callbacks: List of Keras callbacks, or None.
        validation: `Evaluator` or None.
        verbose: As in `Agent.fit`.
        initial_epoch: Integer, the number the first epoch is given.

    Returns:
        `keras.callbacks.History`.
    """
    iterations = -(-int(steps) // loop.steps_per_iteration)
    if epochs > iterations:
        raise ValueError(
            f"Expected `epochs` of at least one iteration of the loop each: at most "
            f"{iterations} for steps={steps} at {loop.steps_per_iteration} env steps "
            f"an iteration. Received: epochs={epochs}"
        )
    callback_list = keras.callbacks.CallbackList(
        [*(callbacks or []), *progress_callback(verbose)],
        add_history=True,
        add_progbar=False,
        model=agent,
        epochs=initial_epoch + epochs,
        steps=iterations * loop.steps_per_iteration,
        verbose=0 if verbose == "auto" else verbose,
    )
    agent.stop_training = False
    loop.plan(iterations)
    callback_list.on_train_begin()
    try:
        loop.compile()
        _run_epochs(
            agent, loop, epochs, iterations, validation, callback_list, initial_epoch
        )
    finally:
        for callback in callback_list.callbacks:
            if isinstance(callback, ProgressBar):
                callback.close()  # gives the terminal back, also after Ctrl-C
    callback_list.on_train_end()
    return agent.history


def _run_epochs(
    agent, loop, epochs, iterations, validation, callback_list, initial_epoch
):
    speed = None  # iterations per second
    for epoch in range(epochs):
        callback_list.on_epoch_begin(initial_epoch + epoch)
        end = (epoch + 1) * iterations // epochs
        begin = epoch * iterations // epochs
        report = _EpochReport()
        while begin < end and not agent.stop_training:
            size = 1 if speed is None else max(1, int(speed * BLOCK_SECONDS))
            size = min(size, end - begin)
            callback_list.on_train_batch_begin(report.blocks)
            started = time.perf_counter()
            metrics, updates, totals = loop.run(size)
            seconds = time.perf_counter() - started
            speed = size / seconds
            begin += size
            agent.env_steps.assign_add(size * loop.steps_per_iteration)
            logs = report.add(metrics, updates, totals, size, seconds)
            logs["env_steps"] = int(agent.env_steps)
            callback_list.on_train_batch_end(report.blocks - 1, logs)
        logs = report.logs(loop.steps_per_iteration)
        logs["env_steps"] = int(agent.env_steps)
        logs |= agent.progress_logs()
        if validation is not None:
            scores = validation.run(agent)
            for name in ("return", "return_std", "episode_length"):
                logs[f"val_{name}"] = scores[name]
        callback_list.on_epoch_end(initial_epoch + epoch, logs)
        if agent.stop_training:
            break


class _EpochReport:
    """Sums what the blocks of one epoch report."""

    def __init__(self):
        self.blocks = self.iterations = 0
        self.updates = self.seconds = 0.0
        self._metrics = {}
        self._totals = zero_totals()

    def add(self, metrics, updates, totals, iterations, seconds):
        """Adds a block; returns its own logs."""
        self.blocks += 1
        self.updates += updates
        self.iterations += iterations
        self.seconds += seconds
        for name, value in metrics.items():
            self._metrics[name] = self._metrics.get(name, 0.0) + updates * value
        self._totals = self._totals + totals
        return {**mean_return_and_length(totals), **(metrics if updates else {})}

    def logs(self, steps_per_iteration):
        """The epoch's means."""
        none = float("nan")  # before the first gradient step
        means = {
            k: v / self.updates if self.updates else none
            for k, v in self._metrics.items()
        }
        speed = self.iterations * steps_per_iteration / self.seconds
        return {
            **mean_return_and_length(self._totals),
            "steps_per_second": speed,
            **means,
        }
