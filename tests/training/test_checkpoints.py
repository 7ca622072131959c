"""The store of checkpoints: whole, verified, or refused."""

import errno
import json
import os
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.errors import CheckpointError
from kerasrl2.training import checkpoints
from kerasrl2.training.checkpoints import CheckpointStore


def variables(value=1.0):
    """One of each kind a run has."""
    return {
        "agent/0/w": tf.Variable(tf.fill([2, 3], float(value))),
        "loop/0/i": tf.Variable(int(value), dtype=tf.int64),
        "buffer/0/rows": tf.Variable(tf.fill([5], int(value))),
        "buffer/1/sum": tf.Variable(float(value), dtype=tf.float64),
        "plan/0/done": tf.Variable(bool(value)),
    }


def values(named):
    return {name: v.numpy().tolist() for name, v in named.items()}


def written(directory, steps=(10, 20, 30), keep=3):
    store = CheckpointStore(directory, keep)
    for step in steps:
        store.write(step, variables(step), {"seed": step})
    store.wait()
    return store


def test_what_is_read_is_what_was_written(tmp_path):
    written(tmp_path)
    store = CheckpointStore(tmp_path)
    found, present = store.find(), variables(0)
    assert (found.manifest["seed"], found.manifest["env_steps"]) == (30, 30)
    store.restore(found, present)
    assert values(present) == values(variables(30))


def test_the_newest_are_kept_and_nothing_else(tmp_path):
    store = written(tmp_path, [9, 10, 11, 100_000_000_000], keep=2)
    names = [path.name for path in store.paths()]
    assert names == ["checkpoint-100000000000", "checkpoint-000000000011"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_reports_tell_bytes_and_seconds(tmp_path):
    (report,) = written(tmp_path, [5]).reports
    files = sum(p.stat().st_size for p in report["path"].iterdir())
    assert report["bytes"] == pytest.approx(files, abs=100)
    assert 0 < report["blocked"] <= report["seconds"]


def test_a_checkpoint_may_be_written_again(tmp_path):
    store = written(tmp_path, [10, 10])
    assert len(store.paths()) == 1
    assert store.find().manifest["seed"] == 10


def test_variables_may_change_while_they_are_written(tmp_path):
    """In place, as compiled loops change them."""
    large = {f"buffer/{i}/rows": tf.Variable(tf.zeros([1_000_000])) for i in range(4)}

    @tf.function(jit_compile=True)
    def change():
        for variable in large.values():
            variable.assign_add(tf.ones_like(variable))

    @tf.function
    def scatter():
        for variable in large.values():
            variable.scatter_nd_update([[0], [999_999]], [7.0, 7.0])

    change()
    store = CheckpointStore(tmp_path)
    store.write(1, large, {})
    for _ in range(5):
        change()
        scatter()
    store.wait()
    store.restore(store.find(), large)
    for variable in large.values():
        assert np.unique(variable).tolist() == [1.0]


def test_the_manifest_may_change_while_it_is_written(tmp_path, monkeypatch):
    """Training goes on and appends to the history that was handed over."""
    seal, go_on = checkpoints._seal, threading.Event()

    def late(*arguments):
        assert go_on.wait(60)
        return seal(*arguments)

    monkeypatch.setattr(checkpoints, "_seal", late)
    store, history = CheckpointStore(tmp_path), {"return": [1.0]}
    store.write(1, variables(), {"history": history})
    history["return"].append(2.0)
    go_on.set()
    store.wait()
    assert store.find().manifest["history"] == {"return": [1.0]}


def test_numbers_of_numpy_are_held_and_other_objects_refused(tmp_path):
    store = CheckpointStore(tmp_path)
    store.write(1, variables(), {"a": np.float32(0.5), "b": np.arange(2)})
    store.wait()
    assert store.find().manifest["a"] == 0.5
    assert store.find().manifest["b"] == [0, 1]
    with pytest.raises(TypeError, match="Expected JSON-serializable"):
        store.write(2, variables(), {"a": object()})


# Damage


def flip(path, position=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 0x10
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


DATA, INDEX = "variables.data-00000-of-00001", "variables.index"
DAMAGES = {
    "data flipped": lambda d: flip(d / DATA),
    "data cut": lambda d: cut(d / DATA),
    "data gone": lambda d: (d / DATA).unlink(),
    "index flipped": lambda d: flip(d / INDEX),
    "index gone": lambda d: (d / INDEX).unlink(),
    "manifest flipped": lambda d: flip(d / "manifest.json"),
    "digest flipped": lambda d: flip(d / "manifest.json", 0),
    "manifest cut": lambda d: cut(d / "manifest.json"),
    "manifest gone": lambda d: (d / "manifest.json").unlink(),
    "manifest empty": lambda d: (d / "manifest.json").write_text(""),
    "manifest no text": lambda d: (d / "manifest.json").write_bytes(b"\xff\xfe\n"),
    "manifest huge": lambda d: os.truncate(d / "manifest.json", 2**33),
    "all gone": lambda d: [p.unlink() for p in d.iterdir()],
    "a file instead": lambda d: (shutil.rmtree(d), d.write_text("x")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_and_the_one_before_used(damage, tmp_path):
    store = written(tmp_path)
    DAMAGES[damage](store.paths()[0])
    with pytest.warns(
        UserWarning, match=r"Damaged checkpoint: .*000000000030.*"
    ) as told:
        found = store.find()
    assert "checkpoint-000000000020" in str(told[0].message)
    present = variables(0)
    store.restore(found, present)
    assert values(present) == values(variables(20))


def test_when_all_are_damaged_nothing_is_touched(tmp_path):
    store = written(tmp_path)
    for path in store.paths():
        cut(path / DATA)
    with pytest.raises(CheckpointError, match=r"at least one undamaged .*has \d+ byt"):
        store.find()
    assert CheckpointStore(tmp_path / "empty").find() is None


def test_every_byte_counts(tmp_path):
    """Whichever byte of any file changes, the checkpoint is not taken for whole."""
    store = written(tmp_path, [10])
    (path,) = store.paths()
    for file in path.iterdir():
        whole = file.read_bytes()
        for position in np.linspace(0, len(whole) - 1, 40, dtype=int):
            content = bytearray(whole)
            content[position] ^= 1
            file.write_bytes(content)
            if file.name == "manifest.json" and position == len(whole) - 1:
                continue  # the last line's end says nothing
            with pytest.raises(CheckpointError, match="undamaged"):
                store.find()
        file.write_bytes(whole)
    assert store.find().manifest["seed"] == 10


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    store = written(tmp_path, [10])
    left = tmp_path / ".writing-checkpoint-000000000020"
    left.mkdir()
    (left / DATA).write_bytes(b"half")
    assert store.find().manifest["seed"] == 10
    store.write(20, variables(20), {"seed": 20})
    store.wait()
    assert store.find().manifest["seed"] == 20
    assert not list(tmp_path.glob(".writing*"))


def test_names_lead_nowhere_else(tmp_path):
    """A manifest from a stranger names files of its own directory only."""
    store = written(tmp_path, [10])
    (path,) = store.paths()
    text = (path / "manifest.json").read_text().split("\n")[1]
    content = json.loads(text)
    content["files"]["../../../etc/passwd"] = content["files"].pop(DATA)
    text = json.dumps(content)
    digest = checkpoints.hashlib.sha256(text.encode()).hexdigest()
    (path / "manifest.json").write_text(f"{digest}\n{text}\n")
    with pytest.raises(CheckpointError, match="passwd"):
        store.find()


# What does not fit


def test_differences_are_named_and_nothing_is_changed(tmp_path):
    store = written(tmp_path, [10])
    other = variables(0)
    other["agent/0/w"] = tf.Variable(tf.zeros([2, 4]))
    other["agent/1/more"] = tf.Variable(0.0)
    del other["loop/0/i"]
    before = values(other)
    with pytest.raises(CheckpointError) as caught:
        store.restore(store.find(), other)
    assert values(other) == before
    for text in (
        "agent/0/w: float32[2, 3] in the checkpoint, float32[2, 4] now",
        "agent/1/more: nothing in the checkpoint, float32[] now",
        "loop/0/i: int64[] in the checkpoint, nothing now",
    ):
        assert text in str(caught.value)


def test_optional_rooms_may_be_missing_in_the_checkpoint(tmp_path):
    store = CheckpointStore(tmp_path)
    small = {n: v for n, v in variables(10).items() if not n.startswith("buffer")}
    store.write(10, small, {})
    store.wait()
    present = variables(0)
    with pytest.raises(CheckpointError, match="buffer/0/rows: nothing"):
        store.restore(store.find(), present)
    store.restore(store.find(), present, optional=["buffer", "plan"])
    assert values(present)["agent/0/w"] == values(variables(10))["agent/0/w"]
    assert values(present)["buffer/0/rows"] == [0] * 5


# A disk that does not take it


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    store = written(tmp_path, [10])
    monkeypatch.setattr(checkpoints, "_seal", full)
    store.write(20, variables(20), {"seed": 20})
    with pytest.raises(CheckpointError, match=r"000020.*No space left.*are intact"):
        store.wait()
    store.wait()  # told once
    assert not list(tmp_path.glob(".writing*"))
    assert store.find().manifest["seed"] == 10
    monkeypatch.undo()
    store.write(20, variables(20), {"seed": 20})
    store.wait()
    assert store.find().manifest["seed"] == 20


def test_too_small_a_disk_is_told_before_it_is_full(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(CheckpointError, match="bytes are needed, 10 are free"):
        CheckpointStore(tmp_path).write(20, variables(20), {})
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="Expected to write"):
            CheckpointStore(place).write(1, variables(), {})


def test_a_directory_that_may_not_be_written(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoints.Path, "mkdir", denied)
    with pytest.raises(CheckpointError, match="Permission denied"):
        CheckpointStore(tmp_path).write(1, variables(), {})


@pytest.mark.parametrize("keep", [0, -1, 1.5])
def test_keeps_at_least_one(keep, tmp_path):
    with pytest.raises(ValueError, match="keep"):
        CheckpointStore(tmp_path, keep)
