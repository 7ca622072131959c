"""Three algorithms that the package does not know: its contract carries them."""

import importlib
import inspect
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from tests import newcomers
from tests.packages import install
from tests.training.runs import digest, make, state_of, train

ROOT = Path(__file__).parents[2]
PLACES = {
    "my_reinforce": ("tests.newcomers.reinforce:Reinforce", "CartPole-v1"),
    "recurrent_ppo": ("tests.newcomers.recurrent_ppo:RecurrentPPO", "CartPole-v1"),
    "my_sac": ("tests.newcomers.sac:SAC", "Pendulum-v1"),
}
COMMANDS = """
import json, sys
from kerasrl2.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print("end of a command")
"""
ENTRY_POINTS = {name: place for name, (place, _) in PLACES.items()}


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name == "my_reinforce" else pytest.mark.long)
        for name in PLACES
    ]
)
def name(request):
    return request.param


@pytest.fixture(scope="module", autouse=True)
def modules():
    """The three modules, registered only while this file's tests run."""
    made = [importlib.import_module(p.partition(":")[0]) for p, _ in PLACES.values()]
    newcomers.remember()
    yield made
    newcomers.forget()


@pytest.fixture
def environment(tmp_path):
    """Of processes in which the three are an installed package."""
    install(tmp_path / "site", "newcomers", ENTRY_POINTS)
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def test_each_is_short(modules):
    for module in modules:
        assert len(Path(module.__file__).read_text().splitlines()) <= 200


def test_trains_saves_and_loads(name, tmp_path, modules):
    _, env_id = PLACES[name]
    agent = make(name, env_id, xla=False)
    before = {variable.path: variable.numpy() for variable in agent.variables}
    history = train(agent, env_id, 128, epochs=2)
    for metric in agent.metric_names:
        assert np.isfinite(history[metric]).all(), metric
    for optimizer, variables in agent.optimizers().values():
        assert int(optimizer.iterations) > 0
        moved = [not np.array_equal(before[v.path], v.numpy()) for v in variables]
        assert any(moved)
    agent.save(tmp_path / "agent.keras")
    objects = {
        key: value
        for module in modules
        for key, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    loaded = krl.load_agent(tmp_path / "agent.keras", custom_objects=objects)
    assert type(loaded) is type(agent)
    ours, theirs = state_of(agent), state_of(loaded)
    left_out = "agent/buffer/", "seed_generator"  # Keras saves none of their states
    for n in (n for n in ours if not any(part in n for part in left_out)):
        np.testing.assert_array_equal(ours[n], theirs[n], err_msg=n)
    observation = np.ones([3, *agent.observation_spec.shape], "f4")
    state = agent.initial_state(3)
    state = state if name == "recurrent_ppo" else None
    results = [a.act(observation, policy_state=state) for a in (agent, loaded)]
    for a, b in zip(*map(tf.nest.flatten, results), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_policy_that_acts_in_another_way_says_what_a_model_of_it_needs():
    agent = make("recurrent_ppo", "CartPole-v1", xla=False)
    with pytest.raises(ValueError, match="Expected `policy_outputs` of RecurrentPPO"):
        _ = agent.policy


def test_a_policy_of_its_own_that_remembers_is_exported(tmp_path):
    agent = make("recurrent_ppo", "CartPole-v1", xla=False)
    agent.export(tmp_path / "policy")
    model = tf.saved_model.load(tmp_path / "policy")
    observation, state = np.ones([3, 4], "f4"), agent.initial_state(3)
    served = model.initial_state(3)["policy_state"]
    for _ in range(3):
        action, state = agent.act(observation, policy_state=state)
        answer, served = model.serve(observation, served)
        np.testing.assert_array_equal(answer, action)
        np.testing.assert_allclose(served, state, rtol=1e-5, atol=1e-6)


def test_a_policy_that_remembers_asks_for_its_state():
    agent = make("recurrent_ppo", "CartPole-v1", xla=False)
    observation = np.ones(4, "f4")
    with pytest.raises(ValueError, match="`policy_state`: the policy of RecurrentPPO"):
        agent.act(observation)
    state = agent.initial_state(1)
    action, after = agent.act(observation, policy_state=state)
    assert action.shape == ()
    assert after.shape == (1, 4)
    assert (after != np.asarray(state)).any()
    again, further = agent.act(observation, policy_state=after)
    assert again.shape == ()
    assert (further != after).any()


def test_reinforce_counts_the_steps_that_were_played():
    agent = make("my_reinforce", "CartPole-v1", xla=False)
    history = train(agent, "CartPole-v1", 200, epochs=2)
    played = np.multiply(history["episodes"], history["episode_length"])
    np.testing.assert_allclose(np.cumsum(played), history["env_steps"], rtol=1e-6)
    assert 200 <= history["env_steps"][-1] < 200 + 2 * agent.rollout_length


@pytest.mark.long
def test_killed_and_resumed_it_ends_with_the_same_bits(name, tmp_path, environment):
    _, env_id = PLACES[name]
    steps, moments = 4_000, random.Random(name)
    agent = make(name, env_id)
    history = train(agent, env_id, steps)
    command = [sys.executable, "-m", "tests.training.runs", name, env_id]
    command += [str(tmp_path), str(steps), "--every", "40"]
    for life in range(2):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
            env=environment,
        )  # fmt: skip
        if process.stdout.readline() != b"ready\n":
            pytest.fail(process.stderr.read().decode())
        if life < 1:
            wait_for_a_checkpoint(tmp_path / "checkpoints", process)
            time.sleep(moments.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    result = json.loads((tmp_path / "result.json").read_text())
    np.testing.assert_equal(result["history"], history)
    assert result["digest"] == digest(agent)


def wait_for_a_checkpoint(directory, process):
    known = set(directory.glob("checkpoint-*"))
    while process.poll() is None and set(directory.glob("checkpoint-*")) <= known:
        time.sleep(0.01)


@pytest.mark.long
def test_from_the_shell(name, tmp_path, environment):
    _, env_id = PLACES[name]
    registration = krl.agents.registration(name)
    settings = [
        f"--set={key}={list(value) if isinstance(value, tuple) else value}"
        for key, value in registration.quick.items()
    ]

    def shell(*commands):
        """What commands print, one after another in one other process."""
        commands = [list(map(str, command)) for command in commands]
        process = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps(commands)], capture_output=True,
            text=True, check=False, cwd=tmp_path, env=environment, timeout=300,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        return process.stdout.split("end of a command\n")

    run = tmp_path / "run"
    arguments = [env_id, "--steps", 400, "--reports", 1, "--run-dir", run]
    train = ["train", name, *arguments, "--eval-episodes", 1, *settings]
    listed, *_ = shell(["list"], train)
    assert name in listed
    resume, evaluate = ["resume", run, "--steps", 800], ["evaluate", run]
    _, evaluated, _ = shell(resume, [*evaluate, "--episodes", 1])
    assert f"{name} on {env_id}: return" in evaluated
