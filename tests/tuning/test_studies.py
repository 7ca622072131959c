"""Tests of `kerasrl2.tuning.studies`."""

import sqlite3
import sys

import optuna
import pytest

from kerasrl2.tuning import open_study

SPACE = {"gamma": {"uniform": [0.0, 1.0]}, "hidden": {"choices": [1, 2, 3]}}
IDENTITY = {"algorithm": "ppo", "env": "CartPole-v1", "seed": 3, "steps": 10}


def opened(directory, **options):
    return open_study(directory, IDENTITY, **options)


def value(settings):
    return settings["gamma"] * settings["hidden"]


def played(study, count):
    """Settings and seeds of so many further trials, which end at once."""
    made = []
    for _ in range(count):
        trial, settings, seed = study.ask(SPACE)
        made.append((settings, seed))
        study.finish(trial, value(settings))
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What 14 trials are if nothing interrupts them: 10 of them random, then TPE."""
    with opened(tmp_path_factory.mktemp("whole")) as study:
        return played(study, 14)


@pytest.mark.long
def test_an_interrupted_study_has_the_trials_of_an_uninterrupted_one(tmp_path, whole):
    made = []
    for count in (3, 9, 1):  # the process dies in a trial after each
        study = opened(tmp_path)
        made += played(study, count)
        study.ask(SPACE)
        study.close()
    with opened(tmp_path) as study:
        made += played(study, 1)
        assert study.counts() == {"finished": 14, "pruned": 0, "failed": 0}
        number, best, settings = study.best()
    assert made == whole
    assert len({seed for _, seed in whole}) == 14
    assert best == max(value(settings) for settings, _ in whole)
    assert settings == whole[number - 1][0]


@pytest.mark.long
def test_another_seed_has_other_trials(tmp_path, whole):
    with open_study(tmp_path, {**IDENTITY, "seed": 4}) as study:
        assert played(study, 1)[0] != whole[0]


@pytest.mark.long
def test_a_trial_given_up_is_the_next(tmp_path):
    with opened(tmp_path) as study:
        first, *of_first = study.ask(SPACE)
        _, *of_second = study.ask(SPACE)
        study.repeat(first)
        assert study.counts() == {"finished": 0, "pruned": 0, "failed": 0}
        again, *of_again = study.ask(SPACE)
        assert of_again == of_first != of_second
        assert study.number(again) == 1
        third, *_ = study.ask(SPACE)
        assert study.number(third) == 3


@pytest.mark.long
def test_counts_and_the_best(tmp_path):
    with opened(tmp_path) as study:
        assert study.best() is None
        for how in ("fail", "prune", "diverge", "finish", "finish"):
            trial, settings, _ = study.ask(SPACE)
            if how == "fail":
                study.fail(trial, "no such environment")
            elif how == "diverge":
                study.prune(trial, "NaN")
            elif how == "prune":
                study.report(trial, 1e9, 1)
                study.prune(trial)
            else:
                study.finish(trial, -settings["gamma"])
        assert study.counts() == {"finished": 2, "pruned": 2, "failed": 1}
        assert study.best()[1] <= 0.0  # not the value of the pruned one


@pytest.mark.long
def test_bad_trials_are_pruned(tmp_path):
    with opened(tmp_path / "median", reports=4) as study:
        for _ in range(5):
            trial, _, _ = study.ask(SPACE)
            assert not any(study.report(trial, 10.0, part) for part in (1, 2, 3, 4))
            study.finish(trial, 10.0)
        trial, _, _ = study.ask(SPACE)
        assert [study.report(trial, 1.0, part) for part in (1, 2)] == [True, True]
    with opened(tmp_path / "none", pruner="none") as study:
        trial, _, _ = study.ask(SPACE)
        assert not study.report(trial, -1e9, 1)
    with opened(tmp_path / "hyperband", pruner="hyperband", reports=9) as study:
        ended = 0
        for _ in range(12):
            trial, settings, _ = study.ask(SPACE)
            parts = range(1, 10)
            ended += any(study.report(trial, settings["gamma"], n) for n in parts)
            study.prune(trial)
        assert 2 <= ended <= 11


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """That of a study without trials."""
    directory = tmp_path_factory.mktemp("study")
    opened(directory).close()
    return directory


@pytest.mark.long
class TestRefusals:
    def test_another_algorithm_or_environment(self, directory):
        for change in ({"algorithm": "dqn"}, {"env": "Acrobot-v1"}):
            with pytest.raises(ValueError, match="one of ppo on CartPole-v1") as error:
                open_study(directory, {**IDENTITY, **change})
            assert next(iter(change.values())) in str(error.value)

    def test_other_trials(self, directory):
        with pytest.raises(ValueError, match=r"`steps` as the study in .* has it, 10"):
            open_study(directory, {**IDENTITY, "steps": 11})

    def test_what_is_left_open_is_the_studys(self, directory):
        for _ in range(2):
            with open_study(directory, {**IDENTITY, "seed": None}) as study:
                assert study.identity == IDENTITY
                assert not study.new

    def test_a_seed_is_drawn_once(self, tmp_path):
        seeds = set()
        for _ in range(2):
            with open_study(tmp_path, {**IDENTITY, "seed": None}) as study:
                seeds.add(study.identity["seed"])
        assert len(seeds) == 1
        assert None not in seeds

    def test_one_that_is_at_work(self, directory):
        with opened(directory), pytest.raises(ValueError, match="no other process"):
            opened(directory)
        opened(directory).close()

    def test_no_study(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(ValueError, match=r"empty directory.*notes\.txt"):
            opened(tmp_path)
        (tmp_path / "study.db").write_text("mine, and long enough to be read as a file")
        with pytest.raises(ValueError, match=r"study of Optuna's in .*study\.db"):
            opened(tmp_path)

    def test_a_study_of_somebody_else(self, tmp_path):
        url = f"sqlite:///{tmp_path / 'study.db'}"
        study = optuna.create_study(storage=url, study_name="kerasrl2")
        study.ask()
        with pytest.raises(ValueError, match="something else wrote"):
            opened(tmp_path)

    def test_an_unknown_pruner(self, tmp_path):
        with pytest.raises(ValueError, match="Expected `pruner`"):
            opened(tmp_path / "new", pruner="best")
        assert not (tmp_path / "new").exists()


def test_without_optuna_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'kerasrl2\[tune\]'"):
        opened(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.long
def test_a_discarded_study_leaves_nothing(tmp_path):
    study = opened(tmp_path / "new")
    study.discard()
    assert not (tmp_path / "new").exists()
    study = opened(tmp_path / "new")
    (tmp_path / "new" / "mine").touch()
    study.discard()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]


@pytest.mark.long
def test_trials_are_on_disk_as_they_are_made(tmp_path):
    with opened(tmp_path) as study:
        trial, _, _ = study.ask(SPACE)
        study.report(trial, 1.5, 2)
        with sqlite3.connect(tmp_path / "study.db") as other:
            query = "SELECT step, intermediate_value FROM trial_intermediate_values"
            assert other.execute(query).fetchall() == [(2, 1.5)]
