"""Loops count on beyond what 32 bits hold."""

import pytest
import tensorflow as tf

from tests.training.runs import make

pytestmark = pytest.mark.long
BORDER = 2**31


@pytest.mark.parametrize("algorithm", ["dqn", "a2c"])
def test_more_than_two_to_the_31_steps(algorithm):
    agent = make(algorithm, "CartPole-v1", xla=False, num_envs=2)
    agent.env_steps.assign(BORDER - 100)
    loop = agent.loop_on("CartPole-v1")
    loop.carry.iteration.assign(BORDER - 50)
    before = [weight.numpy() for weight in agent.network.trainable_weights]
    history = agent.fit("CartPole-v1", steps=400, epochs=4, verbose=0).history
    after = [weight.numpy() for weight in agent.network.trainable_weights]
    assert agent.loop_on("CartPole-v1") is loop
    assert history["env_steps"] == [BORDER + at for at in (0, 100, 200, 300)]
    assert int(loop.carry.iteration) == BORDER - 50 + 400 // loop.steps_per_iteration
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    if algorithm == "dqn":
        assert int(loop.carry.env_steps) == BORDER + 300
        assert float(history["epsilon"][-1]) == pytest.approx(0.05)


def test_seeds_of_iterations_differ_on_both_sides():
    """Iterations are cast to 32 bits for them, which wraps."""
    agent = make("dqn", "CartPole-v1", xla=False, num_envs=1)
    loop = agent.loop_on("CartPole-v1")
    seeds = [
        loop._seeds(tf.constant(iteration, tf.int64)).numpy()
        for iteration in (*range(BORDER - 4, BORDER + 4), 0, 1, 2)
    ]
    assert len({seed.tobytes() for seed in seeds}) == len(seeds)
