"""What goes wrong with replayed experience: said once, and nothing is lost."""

import gymnasium
import numpy as np
import pytest

from kerasrl2.agents import DQN, SAC
from kerasrl2.errors import NonFiniteError

SMALL = {"hidden": (4,), "batch_size": 8, "learning_starts": 16, "seed": 0}
WORLDS = {DQN: "CartPole-v1", SAC: "Pendulum-v1"}
BOTH = pytest.mark.parametrize("agent_class", WORLDS)


class NaNAfter(gymnasium.Wrapper):
    """Rewards a step by NaN, once."""

    def __init__(self, env, steps):
        super().__init__(env)
        self.left = steps

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        self.left -= 1
        return observation, reward if self.left else np.nan, *rest


@BOTH
def test_a_buffer_smaller_than_a_batch(agent_class):
    with pytest.raises(ValueError, match=r"batch_size=64.*capacity of 32.*buffer_size"):
        agent_class.for_env(WORLDS[agent_class], batch_size=64, buffer_size=32)


def test_goals_are_missing():
    agent = SAC.for_env("Pendulum-v1", hindsight="future", **SMALL)
    with pytest.raises(ValueError, match=r"'desired_goal'.*Use a `ReplayBuffer`"):
        agent.fit("Pendulum-v1", steps=10, epochs=1, verbose=0)


@pytest.mark.long
@pytest.mark.parametrize(
    "agent_class", [DQN, pytest.param(SAC, marks=pytest.mark.long)]
)
def test_a_reward_that_is_not_a_number_is_not_stored(agent_class):
    world = WORLDS[agent_class]
    agent = agent_class.for_env(world, num_envs=1, **SMALL)
    with pytest.raises(NonFiniteError, match=r"reward from environment 0 .* step 30"):
        agent.fit(
            lambda: NaNAfter(gymnasium.make(world), 30), steps=60, epochs=1, verbose=0
        )
    assert len(agent.buffer) == agent.env_steps == 29
    assert all(np.isfinite(weight).all() for weight in agent.get_weights())
    agent.fit(world, steps=20, epochs=1, verbose=0)  # goes on
    assert len(agent.buffer) >= 48
