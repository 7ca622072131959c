"""The callback that tells a trial of Optuna how training goes."""

import keras

from kerasrl2._checks import check_positive_integer
from kerasrl2.callbacks._monitored import monitored


class ReportToOptuna(keras.callbacks.Callback):
    """Reports evaluations to a trial, and ends training if the study prunes it.

    Pruned training ends with `optuna.TrialPruned`, which `study.optimize` expects.
    Reports are numbered by how much of the training is done, so that agents whose
    rollouts differ in length compare.

    Args:
        trial: `optuna.Trial`.
        steps: Integer, env steps of the whole training.
        reports: Integer >= 1, in how many parts the training is divided.
        monitor: String, which of the epoch's logs is reported; `"val_return"` needs
            `validation_env`. NaN, of an epoch without an episode, is not reported.

    Raises:
        ValueError: `monitor` is not among the logs.

    Example:
    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study()
    >>> trial = study.ask()
    >>> callback = ReportToOptuna(trial, steps=1000, reports=4, monitor="return")
    >>> callback.on_epoch_end(0, {"env_steps": 520, "return": 9.5})
    >>> study.trials[0].intermediate_values
    {2: 9.5}
    """

    def __init__(self, trial, steps, reports=10, monitor="val_return"):
        super().__init__()
        check_positive_integer("steps", steps)
        check_positive_integer("reports", reports)
        self.trial, self.steps, self.reports = trial, steps, reports
        self.monitor = monitor

    def on_epoch_end(self, epoch, logs=None):
        value = float(monitored(logs, self.monitor))
        if value != value:
            return
        part = part_of(logs["env_steps"], self.steps, self.reports)
        self.trial.report(value, part)
        if self.trial.should_prune():
            import optuna

            raise optuna.TrialPruned(
                f"{self.monitor} {value:.4g} after {int(logs['env_steps']):,} env steps"
            )


def part_of(env_steps, steps, reports):
    """The number of the part of a training, of `reports` equal ones, that just ended.

    Example:
    >>> part_of(520, 1000, 4), part_of(1024, 1000, 4)
    (2, 4)
    """
    return min(reports, max(1, round(reports * float(env_steps) / steps)))
