"""Runs that go on from checkpoints end like those that were never stopped."""

import json
import shutil

import keras
import numpy as np
import pytest

from kerasrl2 import agents, envs
from kerasrl2.callbacks import EvaluateReturn, RecordVideo, TrainingCheckpoint
from kerasrl2.errors import CheckpointError
from kerasrl2.training import resume
from kerasrl2.training.loop import CompiledLoop
from tests.training.runs import (
    EPOCHS,
    VARIANTS,
    fitting,
    home_of,
    make,
    state_of,
    steps_of,
    train,
    uninterrupted,
)

QUICK = "CartPole-v1"


class StopAt(keras.callbacks.Callback):
    """Ends a run in the middle of things, as an exception of the user's would."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if logs["env_steps"] >= self.steps:
            raise KeyError("stopped")


def interrupted(algorithm, env_id, directory, steps, stop, every, **hyperparameters):
    """A run stopped at `stop` steps, and its history when it was resumed by another."""
    first = make(algorithm, env_id, **hyperparameters)
    with pytest.raises(KeyError, match="stopped"):
        train(first, env_id, steps, directory, every, callbacks=[StopAt(stop)])
    assert int(first.env_steps) < steps
    resumed = make(algorithm, env_id, **{"seed": 99, **hyperparameters})
    history = train(resumed, env_id, steps, directory, every)
    return resumed, history


def assert_same(whole, other, other_history):
    """`whole` is what `uninterrupted` returned."""
    state, history = whole
    for (name, a), b in zip(state.items(), state_of(other).values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    np.testing.assert_equal(history, other_history)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """`(directory, state_of, history)` of a finished run of 80 steps."""
    directory = tmp_path_factory.mktemp("shared")
    agent = make("a2c", "CartPole-v1", xla=False)
    history = train(agent, "CartPole-v1", 80, directory)
    return directory, state_of(agent), history


@pytest.fixture
def trained(shared, tmp_path):
    """A copy of its checkpoints."""
    shutil.copytree(shared[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("algorithm", [*sorted(agents.algorithms()), *VARIANTS])
def test_every_algorithm_goes_on_bit_for_bit(algorithm, tmp_path):
    """Another seed is given to the second agent: it takes over the first one's."""
    steps = steps_of(algorithm, 320, 16)
    env_id = home_of(algorithm)
    whole = uninterrupted(algorithm, env_id, steps)
    resumed, again = interrupted(
        algorithm, env_id, tmp_path, steps, steps * 0.6, every=steps // 10
    )
    played = int(resumed.env_steps)
    assert played == whole[1]["env_steps"][-1] >= steps  # more to end whole episodes
    assert len(again["return"]) == EPOCHS
    assert_same(whole, resumed, again)


# What an environment stores and what an agent stores are apart: each algorithm goes on
# above, each environment here, under one loop of either kind for its actions.
IN_EVERY_WORLD = "a2c", "dqn", "sac"
PAIRS = [
    pytest.param(
        algorithm,
        env_id,
        marks=[] if algorithm == "a2c" and env_id == QUICK else pytest.mark.long,
    )
    for algorithm in IN_EVERY_WORLD
    for env_id in envs.ids()
    if fitting(algorithm, env_id)
]


@pytest.mark.parametrize(("algorithm", "env_id"), PAIRS)
def test_every_environment_goes_on(algorithm, env_id, tmp_path):
    """In the middle of an epoch and of episodes."""
    hyperparameters = {"xla": False, "normalize_observations": "Grid" not in env_id}
    steps = steps_of(algorithm, 200, 8)
    whole = uninterrupted(algorithm, env_id, steps, **hyperparameters)
    resumed, again = interrupted(
        algorithm,
        env_id,
        tmp_path,
        steps,
        steps * 0.45,
        every=steps // 20,
        **hyperparameters,
    )
    assert_same(whole, resumed, again)


@pytest.mark.long
def test_the_harness_sees_what_a_checkpoint_lacks(tmp_path, monkeypatch):
    """Without the environments' state the same comparison fails."""
    complete = CompiledLoop.variables_by_name

    def incomplete(self):
        return {
            name: variable
            for name, variable in complete(self).items()
            if not name.startswith("carry/") or variable.shape.rank == 0
        }

    whole = uninterrupted("a2c", "CartPole-v1", 200, xla=False)
    monkeypatch.setattr(CompiledLoop, "variables_by_name", incomplete)
    resumed, again = interrupted(
        "a2c", "CartPole-v1", tmp_path, 200, 90, every=10, xla=False
    )
    with pytest.raises(AssertionError):
        assert_same(whole, resumed, again)


@pytest.mark.long
def test_a_prioritized_buffer_goes_on_with_its_schedule(tmp_path):
    hyperparameters = {"prioritized": True, "n_step": 3, "xla": False}
    whole = uninterrupted("dqn", "CartPole-v1", 240, **hyperparameters)
    history = whole[1]
    assert history["beta"][0] < history["beta"][-1] == 1.0
    resumed, again = interrupted(
        "dqn", "CartPole-v1", tmp_path, 240, 150, every=30, **hyperparameters
    )
    assert_same(whole, resumed, again)


@pytest.mark.long
def test_a_longer_run_goes_on_from_the_end_of_a_shorter_one(tmp_path):
    whole = uninterrupted("a2c", "CartPole-v1", 200, xla=False)
    train(make("a2c", "CartPole-v1", xla=False), "CartPole-v1", 100, tmp_path, epochs=2)
    longer = make("a2c", "CartPole-v1", xla=False)
    history = train(longer, "CartPole-v1", 200, tmp_path, epochs=4)
    assert_same(whole, longer, history)
    assert history["env_steps"] == [50, 100, 150, 200]


@pytest.mark.long
def test_a_finished_run_is_left_as_it_is(shared, trained):
    second = make("a2c", "CartPole-v1", xla=False)
    assert_same(shared[1:], second, train(second, "CartPole-v1", 80, trained))


@pytest.mark.long
def test_a_gymnasium_run_begins_new_episodes_and_says_so(tmp_path, capsys, monkeypatch):
    restart, restarted = CompiledLoop.restart_episodes, []
    monkeypatch.setattr(
        CompiledLoop,
        "restart_episodes",
        lambda loop: restarted.append(loop) or restart(loop),
    )

    def run(steps, **options):
        agent = make("dqn", "CartPole-v1", xla=False)
        train(agent, "CartPole-v1", steps, tmp_path, 20, "gymnasium", **options)
        return agent

    run(100, epochs=2)
    assert not restarted
    agent = run(200, verbose=2)
    assert len(restarted) == 1
    told = capsys.readouterr().out
    assert "resumed at 100 steps" in told
    assert "CartPole-v1 begins new episodes" in told
    assert int(agent.env_steps) == 200
    assert int(agent.buffer.added()) == 200
    assert int(agent.optimizer.iterations) == 200 - 64


@pytest.mark.long
def test_a_resumed_gymnasium_run_does_not_repeat_its_episodes(tmp_path):
    agent = make("a2c", "CartPole-v1", xla=False)
    env = envs.make("CartPole-v1", num_envs=2, backend="gymnasium")
    loop = agent.loop_on(env)
    first = loop.carry.actor.observation.numpy()
    loop.run(3)
    loop.restart_episodes()
    assert int(loop.carry.iteration) == 3
    assert int(loop.carry.env_steps) == int(agent.env_steps) == 3 * 2 * 5
    assert (loop.carry.actor.observation.numpy() != first).any()
    loop.run(1)


def test_the_buffer_is_left_out_if_asked(tmp_path):
    def rooms(buffer):
        checkpoint = TrainingCheckpoint(tmp_path, buffer=buffer)
        return {name.partition("/")[0] for name in checkpoint._variables(loop)}

    loop = make("dqn", "CartPole-v1", xla=False).loop_on("CartPole-v1")
    assert "buffer" in rooms(True)
    assert rooms(False) == rooms(True) - {"buffer", "plan"}
    assert "agent" in rooms(False)


@pytest.mark.long
def test_without_the_buffer_it_is_filled_anew(tmp_path):
    def run(steps):
        agent = make("dqn", "CartPole-v1", xla=False)
        agent.fit(
            "CartPole-v1", steps=steps, epochs=2, verbose=0, resume=True,
            callbacks=[TrainingCheckpoint(tmp_path, buffer=False)],
        )  # fmt: skip
        return agent

    size = run(128).buffer.added()
    assert int(size) == 128
    agent = run(256)
    assert int(agent.buffer.added()) == 128
    assert int(agent.optimizer.iterations) == 2 * 128 - 2 * 64


@pytest.mark.long
def test_callbacks_with_a_state_go_on(tmp_path):
    class Counter(keras.callbacks.Callback):
        blocks = 0

        def on_train_batch_end(self, batch, logs=None):
            self.blocks += 1

        def get_state(self):
            return {"blocks": self.blocks}

        def set_state(self, state):
            self.blocks = state["blocks"]

    def run(steps, epochs, first=0):
        counters = Counter(), Counter()
        counters[0].blocks = first
        agent = make("a2c", "CartPole-v1", xla=False)
        options = {"epochs": epochs, "callbacks": list(counters)}
        train(agent, "CartPole-v1", steps, tmp_path, **options)
        return [counter.blocks for counter in counters]

    before = run(100, 2, first=1_000)
    assert before[1] >= 2
    after = run(200, 4)
    assert after[0] == after[1] + 1_000
    assert after[1] >= before[1] + 2


def watchers():
    """Callbacks that remember, all there are but those with their own tests."""
    rises = {"monitor": "eval_return", "mode": "max"}
    plateau = keras.callbacks.ReduceLROnPlateau(**rises, patience=1, factor=0.5)
    return [
        EvaluateReturn("CartPole-v1", episodes=2, every=3),
        plateau,
        keras.callbacks.EarlyStopping(**rises, patience=9),
    ]


@pytest.mark.long
def test_what_watches_the_best_value_goes_on(tmp_path):
    """The learning rate falls, and evaluations come, as in a run that never stopped."""
    options = {"epochs": 8}
    whole, watching = make("a2c", "CartPole-v1", xla=False), watchers()
    history = train(whole, "CartPole-v1", 320, callbacks=watching, **options)
    assert len(set(history["learning_rate"])) > 2
    first = make("a2c", "CartPole-v1", xla=False)
    stop = StopAt(100)  # between two evaluations
    with pytest.raises(KeyError, match="stopped"):
        train(
            first, "CartPole-v1", 320, tmp_path,
            callbacks=[*watchers(), stop], **options,
        )  # fmt: skip
    resumed, again = make("a2c", "CartPole-v1", xla=False), watchers()
    history_again = train(
        resumed, "CartPole-v1", 320, tmp_path, callbacks=again, **options
    )
    assert_same((state_of(whole), history), resumed, history_again)
    for name in ("best", "wait", "best_epoch"):
        assert getattr(watching[2], name) == getattr(again[2], name)


@pytest.mark.long
def test_the_best_agent_on_disk_is_not_replaced_by_a_worse_one(tmp_path):
    def run(steps, epochs):
        agent = make("a2c", "CartPole-v1", xla=False)
        best = keras.callbacks.ModelCheckpoint(
            tmp_path / "best.keras", monitor="score", mode="max", save_best_only=True
        )
        given = [Scores(), best]
        options = {"epochs": epochs, "callbacks": given}
        train(agent, "CartPole-v1", steps, tmp_path / "run", **options)

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = [1.0, 5.0, 2.0, 3.0][epoch]

    run(80, 2)
    written = (tmp_path / "best.keras").read_bytes()
    run(160, 4)
    assert (tmp_path / "best.keras").read_bytes() == written


def test_best_weights_in_memory_are_missed_aloud(tmp_path):
    def run(steps):
        stopping = keras.callbacks.EarlyStopping(
            monitor="loss", patience=9, restore_best_weights=True
        )
        agent = make("a2c", "CartPole-v1", xla=False)
        train(agent, "CartPole-v1", steps, tmp_path, epochs=2, callbacks=[stopping])

    run(80)
    with pytest.warns(UserWarning, match="best weights .* are not in checkpoints"):
        run(160)


def test_a_run_that_was_stopped_early_is_kept(tmp_path):
    """At its last step, though no checkpoint was due there."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    agent = make("a2c", "CartPole-v1", xla=False)
    train(agent, "CartPole-v1", 200, tmp_path, every=10**6, callbacks=[Stop()])
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000000000100"]


def test_recordings_go_on_counting(tmp_path):
    recording = RecordVideo("CartPole-v1", tmp_path, every_episodes=5)
    recording._record = lambda: recordings.append(recording._count)
    recordings = []
    for episodes in (3, 4, 7):  # of one epoch so far
        recording.on_train_batch_end(0, {"episodes": episodes})
    state = recording.get_state()
    other = RecordVideo("CartPole-v1", tmp_path, every_episodes=5)
    other._record = lambda: recordings.append(other._count)
    other.set_state(json.loads(json.dumps(state)))
    other.on_train_batch_end(0, {"episodes": 9})
    other.on_epoch_end(0)
    other.on_train_batch_end(0, {"episodes": 1})
    assert recordings == [7, 10]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (16,)}, r"agent/network/0/kernel: float32\[4, 8\] in the check"),
        ({"num_envs": 4}, "num_envs 2. Received: 4"),
    ],
)
def test_another_network_or_number_of_environments_is_refused(change, message, trained):
    other = make("a2c", "CartPole-v1", xla=False, **change)
    before = state_of(other)
    with pytest.raises(CheckpointError, match=message):
        train(other, "CartPole-v1", 160, trained)
    for name, array in state_of(other).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.long
def test_another_capacity_algorithm_or_environment_is_refused(tmp_path):
    train(make("dqn", "CartPole-v1", xla=False), "CartPole-v1", 80, tmp_path)
    other = make("dqn", "CartPole-v1", xla=False, buffer_size=256)
    with pytest.raises(CheckpointError, match=r"buffer/\S*rows\S*: .*513.*257"):
        train(other, "CartPole-v1", 160, tmp_path)
    other = make("a2c", "CartPole-v1", xla=False, num_envs=1)
    with pytest.raises(CheckpointError, match="algorithm 'DQN'"):
        train(other, "CartPole-v1", 160, tmp_path)
    other = make("dqn", "CartPole-v0", xla=False)
    with pytest.raises(CheckpointError, match="environment 'CartPole-v1'"):
        train(other, "CartPole-v0", 160, tmp_path)


def test_other_settings_are_told(trained):
    other = make("a2c", "CartPole-v1", xla=False, gamma=0.9)
    with pytest.warns(UserWarning, match=r"gamma=0.9 \(was 0.99\)"):
        train(other, "CartPole-v1", 160, trained)
    assert other.gamma == 0.9


@pytest.mark.parametrize(
    ("name", "there", "message"),
    [
        ("_threads", lambda: 64, "with threads 64 .was "),
        ("_versions", lambda: {"numpy": "0.1"}, "with numpy 0.1 .was "),
    ],
)
def test_what_changes_the_last_bits_is_told(name, there, message, trained, monkeypatch):
    monkeypatch.setattr(resume, name, there)
    other = make("a2c", "CartPole-v1", xla=False)
    with pytest.warns(UserWarning, match=message):
        train(other, "CartPole-v1", 160, trained)
    assert int(other.env_steps) == 160


def test_checkpoints_are_not_written_over_unasked(trained):
    agent = make("a2c", "CartPole-v1", xla=False)
    options = {"steps": 80, "epochs": 1, "verbose": 0, "checkpoint_dir": trained}
    with pytest.raises(ValueError, match="without checkpoints, or `resume=True`"):
        agent.fit("CartPole-v1", **options)
    with pytest.raises(ValueError, match="Expected `checkpoint_dir` with `resume`"):
        agent.fit("CartPole-v1", steps=80, epochs=1, resume=True)
    with pytest.raises(ValueError, match="Expected one `TrainingCheckpoint`"):
        agent.fit("CartPole-v1", callbacks=[TrainingCheckpoint(trained)], **options)


def test_what_fits():
    assert not fitting("dqn", "Pendulum-v1")
    assert fitting("ppo", "Pendulum-v1")
