"""What an agent has counted when a run has failed: what it stored and learned from."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import A2C, DQN
from kerasrl2.errors import EnvironmentFailure, NonFiniteError
from tests.envs.worlds import Fails, ThreeSteps

SETTINGS = {"hidden": (), "seed": 0}


def boom(result):
    raise ZeroDivisionError("boom")


def interrupt(result):
    raise KeyboardInterrupt


def nan(result):
    return result[0], float("nan"), *result[2:]


FAULTS = [(boom, EnvironmentFailure), (interrupt, KeyboardInterrupt),
          (nan, NonFiniteError)]  # fmt: skip


@pytest.fixture
def eagerly(request):
    tf.config.run_functions_eagerly(request.param)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "error", "xla", "eagerly"),
    [
        (*FAULTS[0], False, False),
        *(
            pytest.param(*fault, False, False, marks=pytest.mark.long)
            for fault in FAULTS[1:]
        ),
        pytest.param(*FAULTS[0], True, False, marks=pytest.mark.long),
        pytest.param(*FAULTS[1], True, False, marks=pytest.mark.long),
        pytest.param(*FAULTS[0], False, True, marks=pytest.mark.long),
    ],
    indirect=["eagerly"],
)
@pytest.mark.usefixtures("eagerly")
def test_counts_what_is_in_the_buffer(fault, error, xla):
    agent = DQN.for_env(
        ThreeSteps, buffer_size=200, learning_starts=10**6, xla=xla, **SETTINGS
    )
    env = Fails("step", 73, fault)
    with pytest.raises(error):
        agent.fit(env, steps=100, epochs=1, verbose=0)
    assert int(agent.env_steps) == int(agent.buffer.added()) == 72
    assert bool(agent.guard.is_healthy())
    env.calls["step"] = 100  # it fails no more
    history = agent.fit(env, steps=28, epochs=1, verbose=0)
    assert history.history["env_steps"] == [100]
    assert int(agent.buffer.added()) == 100


@pytest.mark.parametrize(
    ("fault", "error"),
    [FAULTS[0], *(pytest.param(*f, marks=pytest.mark.long) for f in FAULTS[1:])],
)
def test_counts_whole_rollouts(fault, error):
    agent = A2C.for_env(ThreeSteps, num_envs=1, rollout_length=5, xla=False, **SETTINGS)
    with pytest.raises(error):
        agent.fit(Fails("step", 73, fault), steps=100, epochs=1, verbose=0)
    assert int(agent.env_steps) == 70
    assert int(agent.optimizer.iterations) == 14


def test_a_failure_in_reset():
    agent = DQN.for_env(
        ThreeSteps, buffer_size=200, learning_starts=10**6, xla=False, **SETTINGS
    )
    with pytest.raises(EnvironmentFailure, match="`reset` of Fails"):
        agent.fit(Fails("reset", 4, boom), steps=100, epochs=1, verbose=0)
    assert int(agent.env_steps) == int(agent.buffer.added()) == 8
    assert np.isfinite(agent.buffer.get(np.arange(8)).reward).all()
