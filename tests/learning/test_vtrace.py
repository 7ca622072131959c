"""V-trace learns from rollouts of another policy what is true of its own."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import A2C
from kerasrl2.training.collect import begin_episodes, collect

pytestmark = pytest.mark.learning
OPTIMUM = [0.729, 0.81, 0.9, 1.0]  # values of the states of `Chain-5`, gamma 0.9
STEPS, ENVS = 16, 8


def learned(seed, updates=1500, **settings):
    """`(values, chance of going right)` in each state.

    Of an agent that only sees what a policy does which goes left and right at random.
    """
    env = envs.make("Chain-5", num_envs=ENVS)
    settings = {"hidden": (), "gamma": 0.9, "num_envs": ENVS, "xla": False, **settings}
    actor = A2C.for_env(env, seed=seed, **settings)
    actor.network.get_layer("policy").kernel.assign(np.zeros([5, 2]))
    agent = A2C.for_env(
        env, seed=seed, rollout_length=STEPS, optimizer="adam", learning_rate=0.02,
        max_gradient_norm=None, **settings,
    )  # fmt: skip

    @tf.function(autograph=False)
    def update(state, seed):
        state, rollout = collect(actor, env, state, STEPS, seed, keep="outputs")
        batch, _ = agent.prepare(rollout, ())
        agent.learn_from(batch, seed)
        return state

    state = begin_episodes(actor, env, tf.constant([seed, 0]))
    for i in range(updates):
        state = update(state, tf.constant([seed, i]))
    outputs = agent.forward(tf.eye(5)[:4])
    return outputs.value.numpy(), tf.nn.softmax(outputs.parameters)[:, 1].numpy()


def test_values_and_policy_are_the_optimum():
    for seed in range(3):
        value, right = learned(seed, vtrace=True)
        np.testing.assert_allclose(value, OPTIMUM, atol=0.05, err_msg=str(seed))
        assert (right > 0.99).all(), seed


def test_without_it_the_values_are_those_of_the_policy_that_acted():
    """The control: going at random, state 0 is worth 0.9**4 at most when lucky."""
    for seed in range(2):
        value, right = learned(seed, vtrace=False)
        assert value[0] < 0.5, seed
        assert right.min() < 0.9, seed
