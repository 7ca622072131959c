"""Tests of `callbacks.ReportToOptuna`."""

import math

import optuna
import pytest

from kerasrl2 import agents
from kerasrl2.callbacks import ReportToOptuna
from kerasrl2.callbacks.reporting import part_of


class Trial:
    """Notes reports; prunes what is below a threshold."""

    def __init__(self, threshold=-math.inf):
        self.threshold, self.reports = threshold, []

    def report(self, value, step):
        self.reports.append((step, value))

    def should_prune(self):
        return self.reports[-1][1] < self.threshold


@pytest.mark.parametrize(
    ("env_steps", "part"),
    [(1, 1), (249, 1), (250, 1), (374, 1), (376, 2), (520, 2), (1000, 4), (1300, 4)],
)
def test_parts_of_a_training(env_steps, part):
    assert part_of(env_steps, steps=1000, reports=4) == part


def test_reports_what_is_monitored():
    trial = Trial()
    callback = ReportToOptuna(trial, steps=100, reports=2, monitor="return")
    callback.on_epoch_end(0, {"env_steps": 50, "return": math.nan, "val_return": 1.0})
    callback.on_epoch_end(1, {"env_steps": 104, "return": 3.5, "val_return": 1.0})
    assert trial.reports == [(2, 3.5)]


def test_ends_what_the_study_prunes():
    callback = ReportToOptuna(Trial(threshold=10.0), steps=100, reports=2)
    callback.on_epoch_end(0, {"env_steps": 50, "val_return": 10.0})
    with pytest.raises(optuna.TrialPruned, match=r"val_return 9\.5 after 100 env"):
        callback.on_epoch_end(1, {"env_steps": 100, "val_return": 9.5})


def test_a_missing_evaluation_is_named():
    with pytest.raises(ValueError, match="'val_return' needs `validation_env`"):
        ReportToOptuna(Trial(), steps=10).on_epoch_end(0, {"env_steps": 5})
    with pytest.raises(ValueError, match="`reports`"):
        ReportToOptuna(Trial(), steps=10, reports=0)


@pytest.mark.long
def test_in_a_study():
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial):
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        agent = agents.A2C.for_env(
            "Chain-5", learning_rate=rate, hidden=(4,), xla=False, seed=0
        )
        history = agent.fit(
            "Chain-5", steps=200, epochs=2, verbose=0, validation_env="Chain-5",
            validation_episodes=2, callbacks=[ReportToOptuna(trial, 200, 2)],
        )  # fmt: skip
        return history.history["val_return"][-1]

    class Second(optuna.pruners.BasePruner):
        """Prunes the second trial at its first report."""

        def prune(self, study, trial):
            return trial.number == 1

    study = optuna.create_study(direction="maximize", pruner=Second())
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert [len(t.intermediate_values) for t in study.trials] == [2, 1]
