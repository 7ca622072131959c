"""Tests of gradients that are computed while environments are stepped.

Where a graph makes one update an iteration. All tests of `test_off_policy` without XLA
run so too; here is what is particular to it.
"""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import while_v2

from kerasrl2 import envs
from kerasrl2.agents import DQN
from kerasrl2.errors import NonFiniteError
from tests.agents.images import Images
from tests.training.test_off_policy import make_dqn
from tests.training.worlds import Scripted


class OneAfterTheOther(DQN):
    """Computes and applies its gradients when the games have been played."""

    updates_in_halves = False


@pytest.mark.long
@pytest.mark.parametrize(
    ("frequency", "hyperparameters"),
    [
        (3, {"prioritized": True, "n_step": 2}),
        pytest.param(1, {"noisy": True}, marks=pytest.mark.long),
    ],
)
def test_changes_nothing(frequency, hyperparameters):
    """To the bit: weights, optimizer, buffer with priorities, and all that is counted.

    Episodes, seeds and exploration are of the same steps too.
    """
    env, states = Scripted([2, 5, 3], 2), []
    for agent_class in (DQN, OneAfterTheOther):
        agent = agent_class.for_env(
            env, hidden=(8,), batch_size=8, learning_starts=10, buffer_size=64,
            target_update_interval=3, train_frequency=frequency, learning_rate=0.01,
            seed=0, xla=False, **hyperparameters,
        )  # fmt: skip
        history = agent.fit(env, steps=60, epochs=2, verbose=0).history
        del history["steps_per_second"]
        variables = agent.loop_on(env).variables_by_name()
        # Noise is drawn anew from a seed before each use.
        kept = {n: v for n, v in variables.items() if "noise_state" not in n}
        states.append((history, {n: v.numpy() for n, v in kept.items()}))
        iterations = 60 // (2 * frequency)
        expected = iterations - -(-10 // (2 * frequency))
        assert int(agent.optimizer.iterations) == expected
    np.testing.assert_equal(*states)
    assert any("buffer/" in name for name in states[0][1])


def ancestors(operation):
    """All operations that must end before this one begins."""
    found, pending = set(), [operation]
    while pending:
        now = pending.pop()
        before = {*now.control_inputs, *(tensor.op for tensor in now.inputs)} - found
        found |= before
        pending += before
    return found


def conditionals_and_steps(loop):
    """Of an iteration: the operations `If`, and those that step environments."""
    none = tf.zeros([], tf.int64)
    graph = loop._block.get_concrete_function(none, none, loop._values()).graph
    (block,) = [op for op in graph.get_operations() if op.type == "While"]
    operations = while_v2._get_graph(block, "body", "_body_graph").get_operations()
    steps = [op for op in operations if "PyFunc" in calls_of(op)]
    return [op for op in operations if op.type == "If"], steps


def calls_of(operation):
    """Types of an operation and of all in the bodies of a loop or a branch."""
    types, pending = set(), [operation]
    while pending:
        now = pending.pop()
        types.add(now.type)
        for role in {"body", "then_branch", "f"} & set(now.node_def.attr):
            function = now.graph._get_function(now.get_attr(role).name)
            pending += function.graph.get_operations()
    return types


@pytest.mark.parametrize("frequency", [1, pytest.param(4, marks=pytest.mark.long)])
def test_neither_the_draw_nor_the_gradients_wait_for_the_environment(frequency):
    """Or a graph would not compute them side by side."""
    env = envs.make(Images)
    agent = DQN.for_env(
        env, hidden=(8,), train_frequency=frequency, batch_size=4, seed=0
    )
    (draw, gradients), steps = conditionals_and_steps(agent.loop(env))
    assert draw in ancestors(gradients)
    (played,) = steps  # the steps of an iteration, in a loop of their own
    assert played not in ancestors(gradients)
    assert not {draw, gradients} & ancestors(played)


class OwnUpdate(DQN):
    def update(self, batch, seed):
        return super().update(batch, seed)


class OwnGradients(DQN):
    def compute_gradients(self, batch, seed):
        return super().compute_gradients(batch, seed)


@pytest.mark.long
@pytest.mark.parametrize(
    ("agent_class", "env", "hyperparameters", "expected"),
    [
        (DQN, "CartPole-v1", {"xla": False}, True),
        pytest.param(DQN, "CartPole-v1", {"xla": True}, False, marks=pytest.mark.long),
        pytest.param(
            DQN,
            "CartPole-v1",
            {"xla": False, "gradient_steps": 2},
            False,
            marks=pytest.mark.long,
        ),
        (OwnUpdate, "CartPole-v1", {"xla": False}, False),
        (OwnGradients, "CartPole-v1", {"xla": False}, True),
    ],
)
def test_where_they_are_computed_first(agent_class, env, hyperparameters, expected):
    """In plain graphs with one update an iteration that is not the user's own.

    One by one, updates are made in a loop: then no conditional is left.
    """
    env = envs.make(env)
    agent = agent_class.for_env(env, hidden=(4,), **hyperparameters)
    conditionals, _ = conditionals_and_steps(agent.loop(env))
    assert len(conditionals) == (2 if expected else 0)


@pytest.mark.long
@pytest.mark.parametrize("step", [31, 32, 33])
def test_an_update_is_not_applied_after_a_fault(step):
    """The gradients were computed before the fault was found."""
    when = tf.Variable(step, trainable=False)  # or each would be compiled
    env = Scripted([2, 5, 3], 2, fault=("reward", when, 1, float("nan")))
    agent = make_dqn(env, train_frequency=3)
    loop = agent.loop_on(env)
    loop.run(10)
    variables = [*agent.variables, *agent.optimizer.variables]
    before = [np.array(v) for v in variables]
    with pytest.raises(NonFiniteError, match=f"at its step {step}"):
        loop.run(5)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert int(agent.buffer.added()) == 2 * 30


def test_runs_eagerly():
    tf.config.run_functions_eagerly(True)
    try:
        env = Scripted([2, 5, 3])
        agent = make_dqn(env, train_frequency=3)
        agent.fit(env, steps=18, epochs=1, verbose=0)
    finally:
        tf.config.run_functions_eagerly(False)
    assert int(agent.optimizer.iterations) == 2
