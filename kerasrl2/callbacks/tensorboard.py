"""Metrics and settings for TensorBoard, against env steps."""

import time

import keras

from kerasrl2.callbacks.hyperparameters import hyperparameters_of, plain_value

_ROLLOUT = ("return", "episode_length", "episodes", "success_rate", "mean_return",
            "running_return")  # fmt: skip
_TIME = "steps_per_second", "updates_per_second", "learner_waits", "lag"
_X_AXIS = "env_steps"
_EVALUATIONS = "val_", "eval_"


class TensorBoard(keras.callbacks.Callback):
    """Writes an agent's metrics and settings for TensorBoard; the x-axis is env steps.

    One point an epoch of each metric, so that runs of other lengths and with other
    numbers of epochs can be laid over each other. Tags are grouped:

    - `rollout/`: training episodes, `rollout/return`, `rollout/episode_length`, entries
      of `info_keys`.
    - `eval/`: the evaluation of `validation_env`, or of `EvaluateReturn`. With both,
      those of the latter keep their prefix, `eval/eval_return`.
    - `train/`: losses, learning rates, all else that an update or a callback reports.
    - `time/`: `time/steps_per_second`, and `time/seconds` since `fit` began.

    The settings are a table on the page TEXT and a row on the page HPARAMS. Points are
    plain scalars, which TensorBoard's `EventAccumulator` lists as such. A run that goes
    on from a checkpoint replaces what it had written after it. For graphs, histograms
    and profiles use `keras.callbacks.TensorBoard` beside it, in another directory.

    Args:
        log_dir: String or path; another for each run.
        settings: Dictionary of what to show beside the agent's own settings, such as
            the environment; lists are shown as text, None is left out.

    Raises:
        ValueError: At the end of an epoch whose logs do not count env steps: the model
            is not an agent.

    Example:
    >>> import tempfile
    >>> import kerasrl2 as krl
    >>> from tensorboard.backend.event_processing import event_accumulator
    >>> directory = tempfile.mkdtemp()
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> board = TensorBoard(directory, {"env": "CartPole-v1"})
    >>> history = agent.fit(
    ...     "CartPole-v1", steps=160, epochs=2, callbacks=[board], verbose=0
    ... )
    >>> events = event_accumulator.EventAccumulator(directory).Reload()
    >>> [point.step for point in events.Scalars("rollout/episodes")]
    [80, 160]
    """

    def __init__(self, log_dir, settings=None):
        super().__init__()
        self.log_dir, self.settings = log_dir, dict(settings or {})
        self._writer, self._started = None, 0.0

    def on_train_begin(self, logs=None):
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer import event_file_writer

        shown = {**hyperparameters_of(self.model), **self.settings}
        shown = {name: plain_value(value) for name, value in shown.items()}
        shown = {name: value for name, value in shown.items() if value is not None}
        self._started = time.perf_counter()
        self._writer = event_file_writer.EventFileWriter(str(self.log_dir))
        # TensorBoard drops what an earlier process wrote of this step and later.
        begin = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        step = int(self.model.env_steps)
        self._add(session_log=begin, step=step + 1)
        for summary in _summaries_of(shown):
            self._add(summary=summary, step=step)
        self._writer.flush()

    def on_epoch_end(self, epoch, logs=None):
        from tensorboard.compat.proto import summary_pb2

        logs = dict(logs or {})
        if _X_AXIS not in logs:
            raise ValueError(
                "Expected the logs of an agent's `fit`, which count `env_steps`. "
                f"Received: {sorted(logs)}, of {type(self.model).__name__}. Use "
                "`keras.callbacks.TensorBoard` for other models."
            )
        step = int(logs.pop(_X_AXIS))
        known = set(self.params.get("info_keys", ()))
        points = {tag_of(name, logs, known): value for name, value in logs.items()}
        points["time/seconds"] = time.perf_counter() - self._started
        value = summary_pb2.Summary.Value
        values = [value(tag=tag, simple_value=float(y)) for tag, y in points.items()]
        self._add(summary=summary_pb2.Summary(value=values), step=step)
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the file; to be called also after a failure."""
        from tensorboard.plugins.hparams import api_pb2, summary

        if self._writer is not None:
            ended = summary.session_end_pb(api_pb2.STATUS_SUCCESS)
            self._add(summary=ended, step=int(self.model.env_steps))
            self._writer.close()
            self._writer = None

    def _add(self, summary=None, **content):
        from tensorboard.compat.proto import event_pb2, summary_pb2

        if summary is not None:  # TensorFlow's class is not TensorBoard's
            data = summary.SerializeToString()
            content["summary"] = summary_pb2.Summary.FromString(data)
        self._writer.add_event(event_pb2.Event(wall_time=time.time(), **content))


def tag_of(name, logs, info_keys=()):
    """TensorBoard's tag of an entry of an epoch's logs.

    Args:
        name: String, one of the names in `logs`.
        logs: Collection of all names in the logs.
        info_keys: Collection of strings, entries of `info` among them.

    Example:
    >>> [tag_of(name, ()) for name in ("return", "val_return", "loss")]
    ['rollout/return', 'eval/return', 'train/loss']
    """
    for prefix in _EVALUATIONS:
        rest = name.removeprefix(prefix)
        if rest != name:
            both = prefix != _EVALUATIONS[0] and _EVALUATIONS[0] + rest in logs
            return f"eval/{name if both else rest}"
    if name in _ROLLOUT or name in info_keys:
        return f"rollout/{name}"
    return f"{'time' if name in _TIME else 'train'}/{name}"


def _summaries_of(settings):
    """Summaries of the pages TEXT and HPARAMS."""
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.plugins.text import summary as text

    cells = {name: str(value).replace("|", "\\|") for name, value in settings.items()}
    rows = [f"| {name} | {cell} |" for name, cell in cells.items()]
    table = "\n".join(["| setting | value |", "|---|---|", *rows])
    return text.pb("settings", table), summary_v2.hparams_pb(settings)
