"""Words that are none: expected, received, and what is near."""

import gymnasium
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import A2C, DQN, PPO
from kerasrl2.distributions import head_for
from kerasrl2.errors import EnvironmentFailure
from kerasrl2.layers import RewardScaling


@pytest.mark.parametrize("agent_class", [A2C, PPO, DQN])
@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"activation": "tanhh"}, r"`activation` .*Received: 'tanhh'.*mean 'tanh'"),
        ({"activation": 3}, r"`activation` .*Received: 3\. Known are: .*tanh"),
        ({"optimizer": "adm"}, r"`optimizer` to be one of.*Received: 'adm'.*'adam'"),
        ({"distribution": "bta"}, r"one of: .*Received: 'bta'"),
    ],
)
def test_of_for_env(agent_class, hyperparameters, message):
    with pytest.raises(ValueError, match=message):
        agent_class.for_env("CartPole-v1", **hyperparameters)


@pytest.mark.parametrize(
    "make",
    [
        lambda activation: krl.layers.mlp([3], activation=activation),
        lambda activation: krl.layers.q_network([3], 2, activation=activation),
        lambda activation: krl.layers.actor_critic([3], 2, activation=activation),
        lambda activation: krl.layers.NoisyDense(2, activation),
    ],
)
def test_of_every_layer_with_an_activation(make):
    make("relu")
    make(tf.nn.relu)
    with pytest.raises(ValueError, match=r"Received: 'rellu'. Did you mean 'relu"):
        make("rellu")


def test_distributions_for_other_actions():
    box = gymnasium.spaces.Box(-1.0, 1.0, [2])
    for space, kind, fitting in [
        (gymnasium.spaces.Discrete(2), "beta", "'auto', 'categorical'"),
        (box, "categorical", "'auto', 'gaussian', 'squashed_gaussian', 'beta', 'gsde'"),
    ]:
        message = f"for the actions .*: {fitting}. Received: '{kind}'"
        with pytest.raises(ValueError, match=message):
            head_for(space, kind)
    with pytest.raises(ValueError, match=r"Discrete\(2\): 'auto', 'categorical'"):
        A2C.for_env("CartPole-v1", distribution="beta")


def test_reward_scaling_follows_the_discount():
    """By hand: R is 4, then gamma 4 + 0."""
    agent = A2C.for_env("Chain-5", hidden=(), normalize_rewards=True, gamma=0.9)
    layer = agent.reward_scaling
    zero, no = tf.zeros([1]), tf.constant([[False], [False]])
    rewards = tf.constant([[4.0], [0.0]])
    update = tf.function(lambda: layer.update(rewards, no, zero), autograph=False)
    assert float(update()[0]) == pytest.approx(3.6)
    agent.gamma = 0.5
    assert layer.gamma == 0.5
    assert float(update()[0]) == pytest.approx(2.0)  # and nothing was traced again
    assert float(layer.update(rewards, no, zero)[0]) == pytest.approx(2.0)
    with pytest.raises(ValueError, match=r"`gamma` in \[0.0, 1.0\]"):
        agent.gamma = 2.0
    assert (agent.gamma, layer.gamma) == (0.5, 0.5)
    assert layer.get_config()["gamma"] == 0.5
    own = A2C(agent.network, agent.head, gamma=0.9, reward_scaling=RewardScaling(0.7))
    assert own.reward_scaling.gamma == 0.7  # as it was asked for


class Fails(gymnasium.Env):
    """Raises in its step 30."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, [1])
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.steps = 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 30:
            raise RuntimeError("broken")
        return self.observation_space.sample(), 1.0, False, False, {}


@pytest.mark.long
@pytest.mark.parametrize(
    "agent_class", [pytest.param(A2C, marks=pytest.mark.long), DQN]
)
def test_env_steps_are_those_that_were_stored(agent_class):
    """A block is lost where an environment raises; what it stored is counted."""
    quick = {DQN: {"learning_starts": 1000, "buffer_size": 64, "train_frequency": 4},
             A2C: {"num_envs": 1, "rollout_length": 4}}  # fmt: skip
    agent = agent_class.for_env(
        Fails(), hidden=(), seed=0, xla=False, **quick[agent_class]
    )
    with pytest.raises(EnvironmentFailure, match="broken"):
        agent.fit(Fails(), steps=64, epochs=1, verbose=0)
    assert int(agent.env_steps) == 28  # whole iterations of four
    if agent_class is DQN:
        assert int(agent.buffer.added()) == 28
    else:
        assert int(agent.optimizer.iterations) == 7
