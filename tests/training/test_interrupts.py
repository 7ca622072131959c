"""Ctrl-C and SIGTERM, and processes that are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from kerasrl2.training.interrupts import SIGNALS, Interrupts, aside, busy
from tests.training.runs import digest, make, state_of, train, uninterrupted


class Signal(keras.callbacks.Callback):
    """Sends this process a signal after some steps."""

    def __init__(self, number, steps=80):
        super().__init__()
        self.number, self.steps = number, steps

    def on_train_batch_end(self, batch, logs=None):
        if logs["env_steps"] >= self.steps:
            self.steps = float("inf")
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
)
def test_a_checkpoint_is_written_first(number, error, tmp_path):
    before = [signal.getsignal(n) for n in SIGNALS]
    whole, history = uninterrupted("a2c", "CartPole-v1", 200, xla=False)
    stopped = make("a2c", "CartPole-v1", xla=False)
    with pytest.raises(error) as caught:
        train(stopped, "CartPole-v1", 200, tmp_path, 10**9, callbacks=[Signal(number)])
    if error is SystemExit:
        assert caught.value.code == 143
    assert [signal.getsignal(n) for n in SIGNALS] == before
    steps = int(stopped.env_steps)
    assert 80 <= steps < 200
    assert [p.name for p in tmp_path.iterdir()] == [f"checkpoint-{steps:012d}"]
    resumed = make("a2c", "CartPole-v1", xla=False)
    np.testing.assert_equal(train(resumed, "CartPole-v1", 200, tmp_path), history)
    for a, b in zip(whole.values(), state_of(resumed).values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_checkpoints_it_interrupts_all_the_same():
    agent = make("a2c", "CartPole-v1", xla=False)
    with pytest.raises(KeyboardInterrupt):
        train(agent, "CartPole-v1", 200, callbacks=[Signal(signal.SIGINT)])
    assert 80 <= int(agent.env_steps) < 200
    train(agent, "CartPole-v1", 40)


def test_a_second_signal_is_not_held_back():
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_have_no_handlers():
    agent, failures = make("a2c", "CartPole-v1", xla=False), []

    def fit():
        try:
            train(agent, "CartPole-v1", 40)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert not failures
    assert int(agent.env_steps) == 40


def run(directory, steps, *options):
    """Starts `tests.training.runs` and waits until it has imported everything."""
    command = [sys.executable, "-m", "tests.training.runs", "a2c", "CartPole-v1"]
    command += [str(directory), str(steps), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n", process.stderr.read().decode()
    return process


@pytest.mark.long
def test_a_killed_process_loses_nothing_but_time(tmp_path):
    """SIGKILL at random moments, also while a checkpoint is written."""
    steps, moments = 6_000, random.Random(0)
    whole = make("a2c", "CartPole-v1")
    history = train(whole, "CartPole-v1", steps)
    for _ in range(3):
        process = run(tmp_path, steps, "--every", "50")
        time.sleep(moments.uniform(0.5, 4.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = run(tmp_path, steps, "--every", "50")
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    result = json.loads((tmp_path / "result.json").read_text())
    np.testing.assert_equal(result["history"], history)
    assert result["digest"] == digest(whole)


class TestAside:
    """What native code does for seconds, while the main thread hears signals."""

    def test_an_interrupt_does_not_wait(self):
        release = threading.Event()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            with pytest.raises(KeyboardInterrupt):
                aside(lambda: release.wait(30))
            assert busy()
        finally:
            release.set()
        for _ in range(500):
            if not busy():
                break
            time.sleep(0.01)
        assert not busy()

    def test_results_and_failures_come_back(self):
        names = aside(lambda: threading.current_thread().name), "MainThread"
        assert names[0] != names[1]
        with pytest.raises(ZeroDivisionError):
            aside(lambda: 1 / 0)

    def test_other_threads_do_it_themselves(self):
        seen = []
        thread = threading.Thread(
            target=lambda: seen.append(aside(threading.current_thread))
        )
        thread.start()
        thread.join()
        assert seen == [thread]


@pytest.mark.long
def test_an_interrupt_during_compilation_leaves_an_agent_that_can_go_on():
    agent = make("ppo", "CartPole-v1")
    threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        train(agent, "CartPole-v1", 10**9)
    train(agent, "CartPole-v1", 512)
    assert int(agent.env_steps) >= 512


@pytest.mark.long
def test_a_signal_while_programs_are_made_is_told_and_deferred(capsys, monkeypatch):
    """TensorFlow's native code fails in odd ways if an interrupt meets its tracing."""
    agent, seen = make("a2c", "CartPole-v1", xla=False, rollout_length=7), []
    compute_loss = type(agent).compute_loss

    def traced(self, batch, seed):
        if not seen:
            os.kill(os.getpid(), signal.SIGINT)
        seen.append(True)
        return compute_loss(self, batch, seed)

    monkeypatch.setattr(type(agent), "compute_loss", traced)
    with pytest.raises(KeyboardInterrupt):
        agent.fit("CartPole-v1", steps=40, epochs=1, verbose=2)
    assert capsys.readouterr().err == "stopping ...\n"
    assert int(agent.env_steps) == 0
    agent.fit("CartPole-v1", steps=42, epochs=1, verbose=0)
    assert int(agent.env_steps) == 42
