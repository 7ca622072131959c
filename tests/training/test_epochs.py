"""How many epochs a run has, and which numbers they get."""

import csv
import json

import keras
import pytest

from kerasrl2.agents import A2C
from kerasrl2.training.fit import Progress
from kerasrl2.training.monitors import Callbacks
from tests.training.runs import make, train


def resumed(state, steps, epochs, initial_epoch=0):
    """`Progress` of a run that goes on from another's state, with another plan."""
    progress = Progress(steps, epochs, initial_epoch, 0, {})
    progress.callbacks = Callbacks([], add_history=True, model=keras.Model())
    progress.set_state(json.loads(json.dumps(state)))
    return progress


def state(numbers, epoch_start, played, plan, initial_epoch=0, **more):
    return {
        "plan": plan,
        "initial_epoch": initial_epoch,
        "start": 0,
        "played": played,
        "epoch_start": epoch_start,
        "seconds": 1.0,
        "history": {},
        "epoch_numbers": numbers,
        "callbacks": [],
        **more,
    }


WHOLE, TEN = [*range(10)], [100, 10]


@pytest.mark.parametrize(
    ("before", "plan", "number", "end"),
    [  # plan: steps, epochs. number: of the next epoch. end: where it ends
        (state(WHOLE, 100, 100, TEN), (200, 10), 10, 120),  # 8 in earlier versions
        (state(WHOLE, 100, 100, TEN), (200, 20), 10, 110),
        (state(WHOLE, 100, 100, TEN), (400, 10), 10, 120),
        (state([0, 1, 2], 30, 30, TEN), (100, 10), 3, 40),  # the same plan
        (state([0, 1, 2], 30, 35, TEN), (100, 10), 3, 40),  # within an epoch
        (state([0, 1, 2], 30, 35, TEN), (200, 10), 3, 40),
        (state([7, 8], 20, 20, TEN, 7), (100, 10), 9, 30),  # `initial_epoch`
        (state([7, 8], 20, 20, TEN, 7), (200, 10), 9, 40),
        (state([0, 2], 30, 30, TEN), (100, 10), 3, 40),  # one ended in another
        (state([], 0, 5, [50, 1]), (100, 10), 0, 10),
    ],
)
def test_numbers_go_on(before, plan, number, end):
    progress = resumed(before, *plan)
    assert progress.initial_epoch + progress.epoch == number
    assert progress.end == end
    assert progress.played == before["played"]
    assert not progress.is_done


def test_checkpoints_of_earlier_versions_go_on_too():
    old = state(WHOLE, 100, 100, TEN)
    del old["plan"], old["initial_epoch"]
    progress = resumed(old, 200, 10)
    assert progress.initial_epoch + progress.epoch == 10


def test_what_was_played_is_done_only_when_it_is_reported():
    assert resumed(state(WHOLE, 100, 100, TEN), 100, 10).is_done
    reported_later = resumed(state(WHOLE[:-1], 90, 100, TEN), 100, 10)
    assert not reported_later.is_done
    assert reported_later.end == 100
    reported_later.next_epoch()
    assert reported_later.is_done
    assert resumed(state(WHOLE, 100, 100, TEN), 50, 10).is_done


@pytest.mark.long
def test_a_longer_run_has_one_row_an_epoch(tmp_path):
    directory, rows = tmp_path / "run", tmp_path / "log.csv"

    def run(steps):
        log = keras.callbacks.CSVLogger(str(rows), append=True)
        agent = make("a2c", "CartPole-v1", xla=False)
        train(agent, "CartPole-v1", steps, directory, callbacks=[log], epochs=2)
        return agent.history.epoch

    assert run(40) == [0, 1]
    assert run(80) == [0, 1, 2]  # one of 40 steps
    with rows.open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [0, 1, 2]


@pytest.fixture(scope="module")
def agent():
    return A2C.for_env(
        "Chain-5", num_envs=4, rollout_length=5, hidden=(), seed=0, xla=False
    )


@pytest.mark.parametrize(
    ("steps", "epochs"), [(1, 1), (20, 1), (60, 3), (200, 10), (300, 10)]
)
def test_ten_or_as_many_as_there_are_iterations(agent, steps, epochs):
    history = agent.fit("Chain-5", steps=steps, verbose=0)
    assert history.epoch == [*range(epochs)]


def test_more_than_that_is_an_error_if_it_was_asked_for(agent):
    with pytest.raises(ValueError, match=r"at most 3 for steps=60.*epochs=4"):
        agent.fit("Chain-5", steps=60, epochs=4, verbose=0)


@pytest.mark.parametrize("epochs", [0, -1, 2.5, "all"])
def test_what_is_no_number_of_epochs_is_refused(agent, epochs):
    with pytest.raises(ValueError, match="`epochs` to be an integer >= 1"):
        agent.fit("Chain-5", steps=60, epochs=epochs, verbose=0)
