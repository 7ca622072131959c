"""Tests of updates whose gradients are computed while environments are stepped."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import while_v2

from kerasrl2 import envs
from kerasrl2.agents import DQN
from kerasrl2.errors import NonFiniteError
from tests.agents.images import Images
from tests.training.naive import naive_loop
from tests.training.test_off_policy import XLA_OR_NOT, make_dqn
from tests.training.worlds import Scripted


def make_overlapping(env, **hyperparameters):
    return make_dqn(env, **{"overlap": True, "train_frequency": 3, **hyperparameters})


def assert_equal_weights(agents, **tolerance):
    for a, b in zip(agents[0].variables, agents[1].variables, strict=True):
        np.testing.assert_allclose(a, b, err_msg=a.path, **tolerance)


QUICK = [(2, 3, 5), (2, 3, 6), (2, 3, 7), (1, 3, 1000), (1, 1, 6)]
CASES = [
    pytest.param(*case, marks=[] if case in QUICK else pytest.mark.long)
    for case in itertools.product([1, 2], [1, 3], [5, 6, 7, 1000])
]


@pytest.mark.parametrize(("num_envs", "frequency", "starts"), CASES)
def test_makes_exactly_the_documented_updates(num_envs, frequency, starts):
    env = Scripted([2, 5, 3], num_envs)
    hyperparameters = {"train_frequency": frequency, "learning_starts": starts}
    agent = make_overlapping(env, **hyperparameters)
    loop = agent.prepare(env)
    loop.run(7)
    loop.run(1)
    expected = max(0, 8 - -(-starts // (frequency * num_envs)))
    assert int(agent.optimizer.iterations) == expected
    assert int(agent.buffer.added()) == 8 * frequency * num_envs


@pytest.mark.parametrize("xla", XLA_OR_NOT)
def test_is_the_naive_loop(xla):
    hyperparameters = {"prioritized": True, "n_step": 2, "xla": xla, "seed": 3}
    agents = [make_overlapping("CartPole-v1", **hyperparameters) for _ in range(2)]
    naive_loop(agents[0], envs.make("CartPole-v1", num_envs=2), 3, 20)
    agents[1].prepare("CartPole-v1", num_envs=2).run(20)
    assert int(agents[1].optimizer.iterations) == 18
    agents[1].env_steps.assign(0)  # the naive loop does not count them
    assert_equal_weights(agents, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("xla", XLA_OR_NOT)
def test_with_one_step_an_iteration_it_changes_nothing(xla):
    env = Scripted([2, 5, 3], 2)
    agents = []
    for overlap in (False, True):
        hyperparameters = {"overlap": overlap, "train_frequency": 1, "xla": xla}
        agents.append(make_overlapping(env, prioritized=True, **hyperparameters))
        agents[-1].fit(env, steps=60, epochs=2, verbose=0)
    assert int(agents[0].optimizer.iterations) == 25
    assert_equal_weights(agents, rtol=1e-6 if xla else 0)


@pytest.mark.long
def test_blocks_make_no_difference():
    env = Scripted([2, 5, 3], 2)
    agents = [make_overlapping(env, noisy=True, prioritized=True) for _ in range(2)]
    loops = [agent.prepare(env) for agent in agents]
    loops[0].run(20)
    for size in (1, 12, 7):
        loops[1].run(size)
    assert_equal_weights(agents, rtol=0)
    assert loops[0].num_traces == loops[1].num_traces == 1


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
    loop.compile()
    (block,) = [
        op for op in loop._compiled.graph.get_operations() if op.type == "While"
    ]
    operations = while_v2._get_graph(block, "body", "_body_graph").get_operations()
    kinds = ("If", ("While", "PyFunc"))
    return [[op for op in operations if op.type in kind] for kind in kinds]


def test_neither_the_draw_nor_the_gradients_wait_for_the_environment():
    """Or a graph would not compute them side by side."""
    env = envs.make(Images)
    agent = DQN.for_env(env, hidden=(8,), train_frequency=4, batch_size=4, seed=0)
    assert agent.overlaps
    conditionals, steps = conditionals_and_steps(agent.loop(env))
    draw, gradients = conditionals
    assert draw in ancestors(gradients)
    played, *_ = steps  # the first steps of an iteration, in a loop of their own
    assert not ancestors(gradients) & set(steps)
    assert gradients not in ancestors(played)


@pytest.mark.parametrize("step", [31, 32, 33])
def test_an_update_is_not_applied_after_a_fault(step):
    env = Scripted([2, 5, 3], 2, fault=("reward", step, 1, float("nan")))
    agent = make_overlapping(env)
    loop = agent.prepare(env)
    loop.run(10)
    before = [np.array(v) for v in agent.variables]
    with pytest.raises(NonFiniteError, match=f"at its step {step}"):
        loop.run(5)
    for variable, value in zip(agent.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert int(agent.buffer.added()) == 2 * (step - 1)


def test_a_bad_update_is_not_taken():
    class Spoiled(DQN):
        def compute_loss(self, batch):
            loss, metrics = super().compute_loss(batch)
            late = self.optimizer.iterations >= 5
            return loss * tf.where(late, float("nan"), 1.0), metrics

    env = Scripted([2, 5, 3])
    hyperparameters = {"learning_starts": 10, "train_frequency": 2, "overlap": True}
    agent = Spoiled.for_env(env, hidden=(4,), seed=0, xla=False, **hyperparameters)
    with pytest.raises(NonFiniteError, match="loss while"):
        agent.fit(env, steps=64, epochs=1, verbose=0)
    assert int(agent.optimizer.iterations) == 5
    assert all(np.isfinite(w).all() for w in agent.get_weights())


def test_beta_reaches_one_at_the_end_of_the_run():
    env = Scripted([2, 5, 3])
    agent = make_overlapping(env, prioritized=True, beta=0.4)
    history = agent.fit(env, steps=60, epochs=2, verbose=0).history
    assert int(agent.optimizer.iterations) == 16
    assert history["beta"] == pytest.approx([0.4 + 0.6 * 6 / 16, 1.0])


def test_runs_eagerly():
    tf.config.run_functions_eagerly(True)
    try:
        env = Scripted([2, 5, 3])
        agent = make_overlapping(env)
        agent.fit(env, steps=18, epochs=1, verbose=0)
    finally:
        tf.config.run_functions_eagerly(False)
    assert int(agent.optimizer.iterations) == 2


class OwnUpdate(DQN):
    def update(self, batch):
        return super().update(batch)


@pytest.mark.parametrize(
    ("kind", "env", "hyperparameters", "overlaps"),
    [
        (DQN, Images, {"train_frequency": 4}, True),
        (DQN, Images, {"train_frequency": 4, "overlap": False}, False),
        (DQN, Images, {"train_frequency": 1}, False),
        (DQN, Images, {"train_frequency": 4, "gradient_steps": 2}, False),
        (DQN, "CartPole-v1", {"train_frequency": 4}, False),
        (OwnUpdate, Images, {"train_frequency": 4}, False),
    ],
)
def test_who_overlaps_by_itself(kind, env, hyperparameters, overlaps):
    agent = kind.for_env(envs.make(env), hidden=(4,), buffer_size=10, **hyperparameters)
    assert agent.overlaps == overlaps


def test_several_gradient_steps_cannot_overlap():
    with pytest.raises(ValueError, match="one gradient step with `overlap=True`"):
        make_overlapping("CartPole-v1", gradient_steps=2)
    with pytest.raises(ValueError, match="`overlap`"):
        make_overlapping("CartPole-v1", overlap="sometimes")
