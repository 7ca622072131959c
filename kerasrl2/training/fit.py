"""Runs a compiled loop in blocks and reports through Keras callbacks."""

import time

import keras

from kerasrl2.training.callback_states import restore_states, states_of
from kerasrl2.training.episodes import mean_return_and_length
from kerasrl2.training.interrupts import Interrupts
from kerasrl2.training.progress import ProgressBar, announce, progress_callback

BLOCK_SECONDS = 0.5


class Progress:
    """Where a call of `fit` stands.

    Attributes:
        iterations: Integer, of the loop, in the whole call.
        epochs: Integer.
        initial_epoch: Integer, the number the first epoch is given.
        begin: Integer, iterations made.
        seconds: Float, what those of the current epoch took.
        callbacks: `keras.callbacks.CallbackList`, whose history and states go with it.
    """

    def __init__(self, iterations, epochs, initial_epoch):
        self.iterations, self.epochs = iterations, epochs
        self.initial_epoch = initial_epoch
        self.begin, self.seconds = 0, 0.0
        self.callbacks = None
        self._restored = {}

    def end_of(self, epoch):
        """Iterations made when an epoch, from 0, ends."""
        return (epoch + 1) * self.iterations // self.epochs

    @property
    def epoch(self):
        """Integer, the epoch under way, from 0."""
        epochs = range(self.epochs)
        return next((e for e in epochs if self.end_of(e) > self.begin), self.epochs)

    def state(self):
        """What JSON can hold."""
        history = self._history()
        return {
            "begin": self.begin,
            "iterations": self.iterations,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "history": history.history,
            "epoch_numbers": history.epoch,
            "callbacks": states_of(self.callbacks.callbacks),
        }

    def set_state(self, state):
        """Takes over what `state` returned."""
        self.begin = min(state["begin"], self.iterations)
        self.seconds, self._restored = state["seconds"], state

    def restore_callbacks(self):
        """Gives callbacks what is theirs, after `on_train_begin`."""
        if not self._restored:
            return
        history = self._history()
        history.history = self._restored["history"]
        history.epoch = self._restored["epoch_numbers"]
        restore_states(self.callbacks.callbacks, self._restored["callbacks"])

    def _history(self):
        return next(
            callback
            for callback in self.callbacks.callbacks
            if isinstance(callback, keras.callbacks.History)
        )


def fit_loop(
    agent,
    loop,
    steps,
    epochs,
    callbacks,
    validation,
    verbose,
    initial_epoch=0,
    checkpoint=None,
    found=None,
):
    """What `Agent.fit` does once its arguments are made into objects.

    The loop runs in blocks of about half a second, never beyond an epoch's end, so that
    callbacks, the progress bar and Ctrl-C stay responsive. To callbacks a block is what
    a batch is to supervised training: it is told the means of its epoch so far.

    Args:
        agent: `Agent`.
        loop: Its training loop: `run(num_iterations)`, `steps_per_iteration`.
        steps: Integer, env steps, rounded up to whole iterations.
        epochs: Integer, how many reports.
        callbacks: List of Keras callbacks, or None.
        validation: `Evaluator` or None.
        verbose: As in `Agent.fit`.
        initial_epoch: Integer, the number the first epoch is given.
        checkpoint: `TrainingCheckpoint` or None.
        found: `Checkpoint` to go on from, or None.

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
    progress = Progress(iterations, epochs, initial_epoch)
    if found is not None:
        checkpoint.restore(found, loop, progress)
        announce(verbose, found.path, loop.env, int(agent.env_steps))
    else:
        loop.new_report()
    callback_list = keras.callbacks.CallbackList(
        [*(callbacks or []), *progress_callback(verbose)],
        add_history=True,
        add_progbar=False,
        model=agent,
        epochs=initial_epoch + epochs,
        steps=(iterations - progress.begin) * loop.steps_per_iteration,
        verbose=0 if verbose == "auto" else verbose,
    )
    progress.callbacks = callback_list
    agent.stop_training = False
    loop.plan(iterations)
    callback_list.on_train_begin()
    progress.restore_callbacks()
    try:
        loop.compile()
        with Interrupts() as interrupts:
            _run_epochs(agent, loop, progress, validation, checkpoint, interrupts)
    finally:
        for callback in callback_list.callbacks:
            if isinstance(callback, ProgressBar):
                callback.close()  # gives the terminal back, also after Ctrl-C
        if checkpoint is not None:
            checkpoint.store.wait()
    callback_list.on_train_end()
    return agent.history


def _run_epochs(agent, loop, progress, validation, checkpoint, interrupts):
    speed, callbacks = None, progress.callbacks  # iterations per second
    while progress.begin < progress.iterations and not agent.stop_training:
        epoch = progress.epoch
        end, number, blocks = progress.end_of(epoch), progress.initial_epoch + epoch, 0
        callbacks.on_epoch_begin(number)
        while progress.begin < end and not agent.stop_training:
            size = 1 if speed is None else max(1, int(speed * BLOCK_SECONDS))
            size = min(size, end - progress.begin)
            callbacks.on_train_batch_begin(blocks)
            started = time.perf_counter()
            report = loop.run(size)
            seconds = time.perf_counter() - started
            speed = size / seconds
            progress.begin += size
            progress.seconds += seconds
            agent.env_steps.assign_add(size * loop.steps_per_iteration)
            logs = _logs(report, agent)
            callbacks.on_train_batch_end(blocks, logs)
            blocks += 1
            if progress.begin < end and not agent.stop_training:
                _pause(loop, progress, checkpoint, interrupts, epoch_ended=False)
        made = progress.begin - (progress.end_of(epoch - 1) if epoch else 0)
        logs = _logs(loop.report(), agent, made * loop.steps_per_iteration, progress)
        if validation is not None:
            scores = validation.run(agent)
            for name in ("return", "return_std", "episode_length"):
                logs[f"val_{name}"] = scores[name]
        callbacks.on_epoch_end(number, logs)
        loop.new_report()
        progress.seconds = 0.0
        _pause(loop, progress, checkpoint, interrupts, epoch_ended=True)


def _pause(loop, progress, checkpoint, interrupts, epoch_ended):
    """Writes a checkpoint if one is due; lets an interrupt through after one."""
    interrupted = interrupts.received is not None
    if checkpoint is not None:
        checkpoint.save_if_due(loop, progress, epoch_ended, interrupted)
    if interrupted:
        interrupts.raise_received()


def _logs(report, agent, steps=None, progress=None):
    """What callbacks are told: of a block, or with `steps` of a whole epoch."""
    metrics, updates, totals = report
    logs = mean_return_and_length(totals)
    if steps is None:
        logs |= metrics if updates else {}
    else:
        none = float("nan")  # before the first gradient step
        logs["steps_per_second"] = steps / progress.seconds
        logs |= metrics if updates else dict.fromkeys(metrics, none)
    logs["env_steps"] = int(agent.env_steps)
    return logs | agent.progress_logs() if steps is not None else logs
