"""Runs a compiled loop in blocks and reports through Keras callbacks."""

import time

import keras

from kerasrl2.training.callback_states import restore_states, states_of
from kerasrl2.training.episodes import mean_return_and_length
from kerasrl2.training.infos import InfoMeans, check_info_keys
from kerasrl2.training.interrupts import Interrupts
from kerasrl2.training.monitors import Callbacks
from kerasrl2.training.progress import (
    ProgressBar,
    announce,
    progress_callback,
    tell_of_stop,
)
from kerasrl2.training.resume import plain_settings
from kerasrl2.training.watch import NumberWatch

BLOCK_SECONDS, EPOCHS = 0.5, 10
_LOGS = ("return", "episode_length", "episodes", "env_steps", "steps_per_second",
         "learning_rate", "success_rate")  # fmt: skip


class Progress:
    """Progress of a call of `fit`, in env steps.

    Attributes:
        steps: Integer, env steps of the whole call.
        epochs: Integer, number of epochs.
        initial_epoch: Integer, the number of the first epoch.
        start: Integer, env steps played before the call.
        played: Integer, env steps played so far.
        epoch: Integer, index of the current epoch, from 0.
        epoch_start: Integer, `played` at the start of the current epoch.
        seconds: Float, time spent on the steps of the current epoch.
        settings: Dictionary, the agent's plain settings at the start of the run.
        callbacks: `Callbacks`, with the history.
        infos: `InfoMeans` of the current epoch.
        episodes: Integer, episodes that callbacks were told of.
    """

    def __init__(self, steps, epochs, initial_epoch, start, settings, info_keys=()):
        self.steps, self.epochs = steps, epochs
        self.initial_epoch, self.settings = initial_epoch, settings
        self.start = self.played = self.epoch_start = start
        self.epoch, self.seconds, self.episodes = 0, 0.0, 0
        self.callbacks, self.infos = None, InfoMeans(info_keys)
        self._restored = {}

    @property
    def end(self):
        """Integer, env steps played at the end of the current epoch."""
        return self.start + (self.epoch + 1) * self.steps // self.epochs

    @property
    def is_done(self):
        """Whether all steps have been played, and the last epoch is reported."""
        reported = self.epoch_start >= self.played or self.epoch >= self.epochs
        return self.played >= self.start + self.steps and reported

    def next_epoch(self):
        """Moves on to the first epoch that has not ended; some may be passed over."""
        while self.epoch < self.epochs and self.end <= self.played:
            self.epoch += 1
        self.epoch_start, self.seconds = self.played, 0.0
        self.infos.clear()

    def state(self):
        """The progress as a JSON-serializable dictionary."""
        history = self.history()
        return {
            "plan": [self.steps, self.epochs],
            "initial_epoch": self.initial_epoch,
            "infos": self.infos.state(),
            "start": self.start,
            "played": self.played,
            "epoch_start": self.epoch_start,
            "seconds": self.seconds,
            "episodes": self.episodes,
            "history": history.history,
            "epoch_numbers": history.epoch,
            "callbacks": states_of(self.callbacks.callbacks),
        }

    def set_state(self, state):
        """Restores a result of `state`.

        The current epoch is the first that the history does not contain; with another
        plan than that of the run before it takes the next number.
        """
        self.start, self.epoch_start = state["start"], state["epoch_start"]
        self.played = state["epoch_start"]
        self.next_epoch()
        self.played, self.seconds = state["played"], state["seconds"]
        self.episodes = state.get("episodes", 0)
        self.infos.set_state(state.get("infos", self.infos.state()))
        numbers = state["epoch_numbers"]
        if state.get("plan") == [self.steps, self.epochs]:
            self.initial_epoch = state["initial_epoch"]
        elif numbers:
            self.initial_epoch = numbers[-1] + 1 - self.epoch
        self._restored = state

    def restore_callbacks(self):
        """Restores history and callbacks; to call after `on_train_begin`."""
        if not self._restored:
            return
        history = self.history()
        history.history = self._restored["history"]
        history.epoch = self._restored["epoch_numbers"]
        restore_states(self.callbacks.callbacks, self._restored["callbacks"])

    def tell_episodes(self, ended):
        """Tells callbacks of episodes: pairs of return and length, in order."""
        for total, length in ended:
            logs = {"return": total, "episode_length": length}
            self.callbacks.on_episode_end(self.episodes, logs)
            self.episodes += 1

    def history(self):
        """The `keras.callbacks.History` of this call."""
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
    restored=None,
    info_keys=(),
):
    """Implements `Agent.fit`, on objects made from its arguments.

    The loop runs in blocks of about half a second that end with the epoch at the
    latest, so that callbacks, the progress bar and Ctrl-C stay responsive. A block is a
    batch to callbacks, whose logs are means over the epoch so far.

    Args:
        agent: `Agent`.
        loop: Its `CompiledLoop`.
        steps: Integer, env steps, rounded up to whole iterations.
        epochs: Integer, number of reports, or None: `EPOCHS`, or the number of
            iterations if that is smaller.
        callbacks: List of Keras callbacks, or None.
        validation: `Evaluator` or None.
        verbose: As in `Agent.fit`.
        initial_epoch: Integer, the number of the first epoch.
        checkpoint: `TrainingCheckpoint` or None.
        restored: `Checkpoint` to resume from, or None.
        info_keys: Sequence of strings, as in `Agent.fit`.

    Returns:
        `keras.callbacks.History`.
    """
    steps, size = int(steps), loop.steps_per_iteration
    iterations = -(-steps // size)  # more if some end early
    whole = getattr(agent, "whole_episodes", False)
    if epochs is None:
        epochs = EPOCHS if whole else min(EPOCHS, iterations)
    if epochs > iterations and not whole:
        raise ValueError(
            f"Expected `epochs` of at least one iteration of the loop each: at most "
            f"{iterations} for steps={steps} at {size} env steps an iteration. "
            f"Received: epochs={epochs}"
        )
    start, settings = int(agent.env_steps), plain_settings(agent)
    keys = check_info_keys(info_keys, {*_LOGS, *loop.metric_names})
    progress = Progress(steps, epochs, initial_epoch, start, settings, keys)
    for played in (loop, validation):
        if played is not None:
            progress.infos.begin(played.env)
    if restored is not None:
        checkpoint.restore(restored, loop, progress)
        announce(verbose, restored.path, loop.env, progress.played)
    else:
        loop.new_report()
        loop.carry.env_steps.assign(start)  # weights may have been loaded meanwhile
    left = progress.start + steps - progress.played
    callback_list = Callbacks(
        [*(callbacks or []), *progress_callback(verbose)],
        add_history=True,
        add_progbar=False,
        model=agent,
        epochs=progress.initial_epoch + epochs,
        steps=max(0, -(-left // size) * size),
        verbose=0 if verbose == "auto" else verbose,
    )
    progress.callbacks = callback_list
    agent.stop_training = False
    loop.plan(steps)
    loop.tell_episodes(callback_list.ask_for_episodes)
    more = {"info_keys": keys, "compiles": not loop.is_compiled}
    callback_list.set_params({**callback_list.params, **more})
    callback_list.on_train_begin()
    progress.restore_callbacks()
    try:
        with Interrupts(tell_of_stop if verbose else None) as interrupts:
            loop.compile()
            interrupts.tell = None
            _run_epochs(agent, loop, progress, validation, checkpoint, interrupts)
    finally:
        for callback in callback_list.callbacks:
            if isinstance(callback, ProgressBar):
                callback.close()  # restores the terminal, also after Ctrl-C
        if checkpoint is not None:
            checkpoint.store.wait()
    callback_list.on_train_end()
    return progress.history()


def _run_epochs(agent, loop, progress, validation, checkpoint, interrupts):
    speed, callbacks = None, progress.callbacks  # iterations per second
    watch = NumberWatch(loop.env, loop.guard, loop.vector_steps)
    watch.look(loop.carry.actor.observation)

    def counts(copy, episode):  # what follows in its rollout does not
        return not (loop.plays_less and episode)

    while not progress.is_done and not agent.stop_training:
        end, number, blocks = progress.end, progress.initial_epoch + progress.epoch, 0
        callbacks.on_epoch_begin(number)
        while progress.played < end and not agent.stop_training:
            remaining = -(-(end - progress.played) // loop.steps_per_iteration)
            size = 1 if speed is None else max(1, int(speed * BLOCK_SECONDS))
            size = size if loop.plays_less else min(size, remaining)
            callbacks.on_train_batch_begin(blocks)
            started, before = time.perf_counter(), int(loop.carry.iteration)
            progress.infos.begin(loop.env)
            report = loop.run(size, until=end)
            seconds = time.perf_counter() - started
            speed = (int(loop.carry.iteration) - before) / seconds
            # Not the agent's count, which other threads may change.
            progress.played = int(loop.carry.env_steps)
            progress.seconds += seconds
            progress.infos.take(loop.env, counts)
            watch.look(loop.carry.actor.observation)
            progress.tell_episodes(loop.episodes_ended())
            logs = _logs(report, progress)
            callbacks.on_train_batch_end(blocks, logs)
            blocks += 1
            if progress.played < end and not agent.stop_training:
                _pause(loop, progress, checkpoint, interrupts, epoch_ended=False)
        _end_epoch(agent, loop, progress, validation, checkpoint, interrupts)
        loop.new_report()
        progress.next_epoch()
        _pause(loop, progress, checkpoint, interrupts, epoch_ended=True)


def _end_epoch(agent, loop, progress, validation, checkpoint, interrupts):
    """Evaluates and tells callbacks what the epoch was like.

    An interrupt leaves a checkpoint of the moment before: the run goes on from it with
    this report.
    """
    played = progress.played - progress.epoch_start
    speed_of_epoch = played / progress.seconds
    before = progress.state()
    try:
        logs = _logs(loop.report(), progress, speed_of_epoch)
        logs |= agent.progress_logs() | loop.progress_logs()
        if validation is not None:
            scores = validation.run(agent, info_keys=progress.infos.keys)
            names = ("return", "return_std", "episode_length", "success_rate")
            for name in (*names, *progress.infos.keys):
                if name in scores:
                    logs[f"val_{name}"] = scores[name]
        number = progress.initial_epoch + progress.epoch
        progress.callbacks.on_epoch_end(number, logs)
    except (KeyboardInterrupt, SystemExit):
        if checkpoint is not None and interrupts.received is not None:
            checkpoint.save(loop, progress.settings, before)
        raise


def _pause(loop, progress, checkpoint, interrupts, epoch_ended):
    """Writes a checkpoint if one is due, then raises a deferred interrupt."""
    interrupted = interrupts.received is not None
    if checkpoint is not None:
        checkpoint.save_if_due(loop, progress, epoch_ended, interrupted)
    if interrupted:
        interrupts.raise_received()


def _logs(report, progress, steps_per_second=None):
    """Logs of a block, or (with `steps_per_second`) of an epoch."""
    metrics, updates, totals = report
    logs = mean_return_and_length(totals) | progress.infos.means()
    if steps_per_second is None:
        logs |= metrics if updates else {}
    else:
        none = float("nan")  # before the first gradient step
        logs["steps_per_second"] = steps_per_second
        logs |= metrics if updates else dict.fromkeys(metrics, none)
    logs["env_steps"] = progress.played
    return logs
