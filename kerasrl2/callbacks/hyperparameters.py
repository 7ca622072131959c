"""Hyper-parameters of a run for TensorBoard."""

import keras

from kerasrl2.training.resume import plain_settings


class LogHyperparameters(keras.callbacks.Callback):
    """Writes the agent's hyper-parameters for TensorBoard's page HPARAMS.

    `callbacks.TensorBoard` does so itself. This one stands beside Keras' own in the
    same directory: one row of the page is then a run with its settings and its metrics.
    It shows the algorithm, each argument of the agent that is a number, a word or a
    truth value, and the learning rate at the beginning.

    Args:
        log_dir: String or path, that of `keras.callbacks.TensorBoard`; another for each
            run.
        settings: Dictionary of what else to show, such as the environment; lists are
            shown as text, None is left out.

    Example:
    >>> import os, tempfile
    >>> import kerasrl2 as krl
    >>> directory = tempfile.mkdtemp()
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> callbacks = [
    ...     keras.callbacks.TensorBoard(directory, write_graph=False),
    ...     LogHyperparameters(directory, {"env": "CartPole-v1"}),
    ... ]
    >>> history = agent.fit(
    ...     "CartPole-v1", steps=80, epochs=1, callbacks=callbacks, verbose=0
    ... )
    >>> sorted(name.split(".")[0] for name in os.listdir(directory))
    ['events', 'train']
    """

    def __init__(self, log_dir, settings=None):
        super().__init__()
        self.log_dir, self.settings = log_dir, dict(settings or {})
        self._writer = None

    def on_train_begin(self, logs=None):
        from tensorboard.plugins.hparams import api

        shown = {**hyperparameters_of(self.model), **self.settings}
        shown = {name: plain_value(value) for name, value in shown.items()}
        shown = {name: value for name, value in shown.items() if value is not None}
        self._writer = api.KerasCallback(str(self.log_dir), shown)
        self._writer.on_train_begin()

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.on_train_end()
            self._writer = None


def hyperparameters_of(agent):
    """Dictionary of an agent's plain settings, for loggers of other packages, too.

    Args:
        agent: `Agent`.

    Returns:
        The algorithm's class, each argument of the agent that is a number, a word, a
        truth value or None, and the learning rates of the moment.
    """
    rates = agent.progress_logs().items()
    rates = {name: rate for name, rate in rates if name.endswith("learning_rate")}
    return {"algorithm": type(agent).__name__, **plain_settings(agent), **rates}


def plain_value(value):
    """What TensorBoard can show: everything but numbers, words and truth is text."""
    known = value is None or isinstance(value, bool | int | float | str)
    return value if known else str(value)
