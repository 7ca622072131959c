"""`envs.check(..., twin=...)`: an environment in TensorFlow against Gymnasium's."""

import re

import gymnasium
import numpy as np
import pytest

from kerasrl2 import envs
from kerasrl2.envs import check
from tests.agents.nested_worlds import Minefield, Riddle


def cartpole(gravity=9.8):
    def twin(physics):
        env = gymnasium.make("CartPole-v1", disable_env_checker=True)
        env.reset(seed=0)
        env.unwrapped.state = tuple(physics.astype(np.float64))
        env.unwrapped.gravity = gravity
        return env

    return twin


def riddle(reward=1.0, box=0.0):
    """The twin of `Riddle`; what follows is its physics, as without chance."""

    class Twin(gymnasium.Env):
        def __init__(self, physics):
            self.physics = physics

        def step(self, action):
            wanted = (self.physics[0] + self.physics[1]) % 2
            flags, place = np.int8([0, 0]), np.float32([1 + box, 1])
            observation = {"flags": flags, "place": (1, place)}
            return observation, reward * float(action == wanted), False, False, {}

    return Twin


class Still(Riddle):
    """Without chance its next state is always the same."""

    def transition(self, physics, action):
        _, *rest = super().transition(physics, action)
        return physics[:, :2] * 0, *rest


@pytest.mark.long
def test_equal_ones_are_equal():
    env = envs.make("CartPole-v1", num_envs=4)
    assert check(env, steps=50, twin=cartpole()) == []
    assert check(Still(3), steps=20, twin=riddle()) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("env", "twin", "what"),
    [
        (lambda: envs.make("CartPole-v1", num_envs=4), cartpole(3.0),
         r"next observation is \["),
        (lambda: Still(3), riddle(reward=2.0), r"reward is .*, the twin's"),
        (lambda: Still(3), riddle(box=1.0),
         r'next observation\["place"\]\[1\] is \[1.0, 1.0\], the twin.s \[2.0, 1.0\]'),
        (lambda: Minefield(2), lambda physics: None, "the twin raised AttributeError"),
    ],
)  # fmt: skip
def test_differences_are_named(env, twin, what):
    findings = check(env(), steps=30, twin=twin)
    assert [f.severity for f in findings if re.match(what, f.what)] == ["error"]


def test_a_twin_is_for_environments_in_tensorflow():
    with pytest.raises(ValueError, match="`TensorFlowEnvironment` with `twin`"):
        check("CartPole-v1", twin=cartpole())
