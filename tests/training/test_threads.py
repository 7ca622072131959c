"""Runs in several threads of one process at the same time."""

from kerasrl2._startup import native_chatter_kept_back

import os
import sys
import threading

import numpy as np
import pytest

from kerasrl2 import envs
from kerasrl2.training import programs
from tests.training.runs import make, state_of

STEPS = {"a2c": 1200, "dqn": 300}


def at_once(*functions):
    """Calls each function in a thread of its own, together; returns the results."""
    barrier, results, failures = threading.Barrier(len(functions)), {}, []

    def call(i, function):
        try:
            barrier.wait()
            results[i] = function()
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=call, args=pair) for pair in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    if failures:
        raise failures[0]
    assert len(results) == len(functions)
    return [results[i] for i in range(len(functions))]


def fit(agent, algorithm):
    """`(env steps of each epoch, loop)` of a run that asks for the loop before."""
    loop = agent.loop_on("CartPole-v1")
    steps = STEPS[algorithm]
    history = agent.fit("CartPole-v1", steps=steps, epochs=4, verbose=0)
    assert agent.loop_on("CartPole-v1") is loop
    assert int(loop.carry.iteration) * loop.steps_per_iteration == steps
    return history.history, loop


def assert_finite(agent):
    for name, array in state_of(agent).items():
        if np.issubdtype(array.dtype, np.floating):
            assert np.isfinite(array).all(), name


@pytest.mark.long
@pytest.mark.parametrize(
    "algorithms",
    [("a2c", "a2c"), pytest.param(("dqn", "a2c"), marks=pytest.mark.long)],
)
def test_an_agent_in_each_thread_learns_what_it_learns_alone(algorithms):
    """Also where both trace, or share, the same program at the same moment."""
    alone = []
    for seed, algorithm in enumerate(algorithms):
        programs._programs.clear()
        agent = make(algorithm, "CartPole-v1", seed=seed, xla=False)
        alone.append((agent, fit(agent, algorithm)[0]))
    programs._programs.clear()
    made = [
        make(algorithm, "CartPole-v1", seed=seed, xla=False)
        for seed, algorithm in enumerate(algorithms)
    ]
    results = at_once(
        *(
            lambda a=agent, n=algorithm: fit(a, n)
            for agent, algorithm in zip(made, algorithms, strict=True)
        )
    )
    assert results[0][1] is not results[1][1]
    for (agent, history), again, result in zip(alone, made, results, strict=True):
        assert result[0]["env_steps"] == history["env_steps"]
        assert result[0]["episodes"] == history["episodes"]
        for (name, a), b in zip(
            state_of(agent).items(), state_of(again).values(), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)
        assert_finite(again)


@pytest.mark.long
def test_one_agent_with_a_loop_in_each_of_two_threads(monkeypatch):
    """Each plays its own games to the end; both teach the same weights.

    In blocks of one iteration, so that they meet as often as can be.
    """
    monkeypatch.setattr("kerasrl2.training.fit.BLOCK_SECONDS", 0.0)
    agent = make("a2c", "CartPole-v1", xla=False)
    before = agent.get_weights()
    results = at_once(*[lambda: fit(agent, "a2c")] * 2)
    (first, one), (second, other) = results
    assert one is not other
    assert one.carry is not other.carry
    assert one.env is not other.env
    for history in (first, second):
        steps = np.diff(history["env_steps"])
        assert steps.tolist() == [STEPS["a2c"] // 4] * 3
    assert np.any(before[0] != agent.get_weights()[0])
    assert_finite(agent)


@pytest.mark.long
def test_environments_in_python_are_of_their_threads():
    """A2C on Gymnasium's CartPole, played from two threads at once."""

    def run(seed):
        agent = make("a2c", "CartPole-v1", seed=seed, xla=False)
        env = envs.make("CartPole-v1", num_envs=2, backend="gymnasium")
        agent.fit(env, steps=200, epochs=2, verbose=0)
        return agent

    together = at_once(lambda: run(1), lambda: run(2))
    for seed, agent in zip((1, 2), together, strict=True):
        assert int(agent.env_steps) == 200
        for a, b in zip(agent.weights, run(seed).weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_error_stream_is_given_back(capfd):
    """However the times overlap in which two threads keep its chatter back."""
    stream, first_is_in, second_is_in = (
        sys.stderr,
        *(threading.Event() for _ in range(2)),
    )
    first_is_out = threading.Event()

    def first():
        with native_chatter_kept_back():
            first_is_in.set()
            assert second_is_in.wait(60)
        first_is_out.set()

    def second():
        assert first_is_in.wait(60)
        with native_chatter_kept_back():
            second_is_in.set()
            assert first_is_out.wait(60)

    at_once(first, second)
    assert sys.stderr is stream
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"
