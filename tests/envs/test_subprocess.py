"""Tests of environments in processes of their own."""

import functools
import gc
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import agents
from kerasrl2.envs import GymnasiumEnvironment, make
from kerasrl2.errors import EnvironmentFailure
from tests.envs import remote_worlds as worlds
from tests.envs.worlds import SEED, play

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.name != "posix", reason="Linux and macOS only"),
]
ACTIONS = np.random.default_rng(0).integers(2, size=[60, 2]).astype(np.int32)


def remote(env, num_envs=2, **keywords):
    return GymnasiumEnvironment(env, num_envs, subprocess=True, **keywords)


def one_fails(fault, at=3, **keywords):
    """Two environments; the second one fails: its clock is set by its first number."""
    return remote(functools.partial(worlds.Walks, fault, at), **keywords)


def processes(env):
    return [one.process for one in env.envs]


def runs(pid):
    """Whether a process is there and no zombie that nobody has waited for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_gone(processes):
    for process in processes:
        assert process.returncode is not None  # waited for: no zombie
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


@pytest.mark.parametrize(
    ("env", "keywords"),
    [("CartPole-v1", {"max_episode_steps": 11}), (worlds.Walks, {})],
)
def test_equals_the_same_environments_in_this_process(mode, env, keywords):
    inside = GymnasiumEnvironment(env, 2, **keywords)
    outside = remote(env, time_limit=600.0, **keywords)
    assert (outside.id, outside.num_envs) == (inside.id, 2)
    assert outside.observation_space == inside.observation_space
    assert outside.action_space == inside.action_space
    for seed in (SEED, tf.constant([5, 6])):
        expected, found = (play(e, ACTIONS, mode, seed=seed) for e in (inside, outside))
        np.testing.assert_array_equal(expected[0], found[0])
        for name, value in expected[1]._asdict().items():
            np.testing.assert_array_equal(value, getattr(found[1], name), name)
        assert expected[1].terminated.any()
    running = processes(outside)
    outside.close()
    outside.close()
    assert_gone(running)
    with pytest.raises(RuntimeError, match="is closed"):
        outside.reset(SEED)


def test_processes_import_no_tensorflow():
    env = remote(worlds.Watches)
    _, result = play(env, ACTIONS[:3])
    assert not result.reward.any()
    env.close()


WHERE = r"`step` of Walks \(environment 0 of 2 from 0, step 3, given action [01]\) "
LOST = {
    "hangs": (worlds.hang, "was lost: .* within time_limit=0.5 seconds"),
    "exits": (worlds.leave, r"was lost: .* the end of its process \(exit code 3\)"),
    "is killed": (worlds.die, r"was lost: .* \(killed by SIGKILL\)"),
}


@pytest.mark.parametrize(("fault", "message"), LOST.values(), ids=LOST)
def test_what_hangs_or_dies_ends_all_processes(mode, fault, message):
    hangs = fault is worlds.hang
    env = one_fails(fault, time_limit=0.5 if hangs else 600.0)
    running = processes(env)
    if hangs:  # the limit is short: make sure that it is the fault that breaks it
        for one in env.envs:
            one.time_limit = 600.0
        state, _ = mode(env.reset)(SEED)
        for _ in range(2):
            state, _ = mode(env.step)(state, tf.constant([0, 1]), SEED)
        for one in env.envs:
            one.time_limit = 0.5
        with pytest.raises(EnvironmentFailure, match=WHERE + message), env.errors():
            mode(env.step)(state, tf.constant([0, 1]), SEED)
    else:
        with pytest.raises(EnvironmentFailure, match=WHERE + message) as caught:
            play(env, ACTIONS, mode)
        assert (caught.value.index, caught.value.step) == (0, 3)
    assert_gone(running)
    env.close()
    with pytest.raises(RuntimeError, match="is closed"):
        env.reset(SEED)


def test_a_reset_that_hangs():
    env = one_fails(worlds.hang, at=0, time_limit=0.2)
    running = processes(env)
    with pytest.raises(EnvironmentFailure, match=r"`reset` of .*time_limit=0.2"):
        env.reset(SEED)
    assert_gone(running)


RAISED = {
    "raises": (worlds.boom, "raised ZeroDivisionError: boom"),
    "exits politely": (worlds.leave_politely, "raised RuntimeError: SystemExit: 4"),
    "cannot travel": (
        worlds.raise_untravelled, "raised RuntimeError: Untravelled: 1 and 2"
    ),
    "shape": (worlds.wrong_shape, r"returned .* Received: shape \(3,\)"),
    "too few": (worlds.too_few, "returned .* a tuple of 3"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "message"), RAISED.values(), ids=RAISED)
def test_other_faults_are_those_of_this_process(fault, message):
    env = one_fails(fault)
    with pytest.raises(EnvironmentFailure, match=WHERE + message) as caught:
        play(env, ACTIONS)
    if "raised" in message:
        assert f"in {fault.__name__}\n" in str(caught.value.__cause__.__cause__)
    # It goes on after a reset, and answers that nobody fetched are forgotten.
    first, result = play(env, ACTIONS[:7])
    inside = GymnasiumEnvironment(worlds.Walks, 2)
    expected, wanted = play(inside, ACTIONS[:7])
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(result.reward, wanted.reward)
    env.close()


def test_what_is_defined_in_the_main_script_needs_no_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import gymnasium, numpy as np\n"
        "import kerasrl2 as krl\n"
        "from tests.envs.worlds import SEED, play\n"
        "class Mine(gymnasium.Wrapper):\n"
        "    def step(self, action):\n"
        "        return *super().step(action)[:1], 7.0, False, False, {}\n"
        "gymnasium.register('Mine-v0', lambda: Mine(gymnasium.make('CartPole-v1')))\n"
        "for env in (lambda: Mine(gymnasium.make('CartPole-v1')), 'Mine-v0'):\n"
        "    made = krl.envs.make(env, num_envs=2, subprocess=True, time_limit=600.0)\n"
        "    _, result = play(made, np.zeros([1, 2], np.int32))\n"
        "    print('paid', result.reward.tolist())\n"
        "    print('pids', *(one.process.pid for one in made.envs))\n"
        "import os, sys\n"
        "sys.stdout.flush()\n"
        "os._exit(0)  # nothing is closed\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("paid [[7.0, 7.0]]") == 2, done.stderr
    pids = [
        int(x) for line in re.findall("pids (.*)", done.stdout) for x in line.split()
    ]
    for _ in range(600):  # their parent has ended, so they end
        if not any(map(runs, pids)):
            break
        time.sleep(0.1)
    assert len(pids) == 4
    assert not any(map(runs, pids))


def test_processes_end_with_what_holds_them():
    env = remote(worlds.Walks, 1)
    (process,) = processes(env)
    del env
    gc.collect()
    assert_gone([process])


def test_errors_of_making_one():
    with pytest.raises(ValueError, match="Did you mean 'CartPole-v1'"):
        make("CartPole-v7", subprocess=True)
    with pytest.raises(ZeroDivisionError):
        remote(worlds.boom)
    with pytest.raises(
        ValueError, match=r"a `gymnasium.Env`, one environment. Received: F"
    ):
        remote(worlds.imports_tensorflow)
    with pytest.raises(RuntimeError, match="exit code 3"):
        remote(worlds.leave)


@pytest.mark.parametrize(
    ("env", "keywords", "message"),
    [
        (worlds.Walks, {"time_limit": 3.0}, "`subprocess=True` with a time limit"),
        (worlds.Walks, {"subprocess": True, "time_limit": 0.0}, "`time_limit`"),
        (worlds.Walks(), {"subprocess": True}, "an id or a callable"),
    ],
)
def test_arguments_are_checked(env, keywords, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(env, **keywords)


def test_agents_learn_the_same():
    """And stop with the last good weights when the environment dies."""
    weights = []
    for keywords in ({}, {"subprocess": True}):
        env = make(worlds.Walks, num_envs=2, **keywords)
        agent = agents.A2C.for_env(
            env, hidden=(4,), rollout_length=4, seed=0, xla=False
        )
        agent.fit(env, steps=32, epochs=1, verbose=0)
        weights.append(agent.get_weights())
        env.close()
    for inside, outside in zip(*weights, strict=True):
        np.testing.assert_array_equal(inside, outside)
    env = make(functools.partial(worlds.Walks, worlds.die, 3), 2, subprocess=True)
    with pytest.raises(EnvironmentFailure, match="killed by SIGKILL"):
        agent.fit(env, steps=32, epochs=1, verbose=0)
    for inside, outside in zip(weights[0], agent.get_weights(), strict=True):
        np.testing.assert_array_equal(inside, outside)
