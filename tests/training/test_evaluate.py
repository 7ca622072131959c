"""Tests of `kerasrl2.training.evaluate` and `Agent.evaluate`."""

import gymnasium
import numpy as np
import pytest

from kerasrl2 import envs
from kerasrl2.agents import A2C
from tests.envs.worlds import Chain5
from tests.training.worlds import Bandit, Scripted, naive_episodes


@pytest.fixture(scope="module")
def scripted_agent():
    return A2C.for_env(Scripted([1]), hidden=(), seed=0)


@pytest.fixture(scope="module")
def chain_agent():
    return A2C.for_env("Chain-5", hidden=(), seed=0, normalize_observations=True)


def payoff(length):
    """Return of a `Scripted` episode."""
    return length + length * (length - 1) / 4


def test_short_episodes_are_not_favoured(scripted_agent):
    """One copy's episodes take 2 steps, the other's 50: the mean length is 26."""
    env = Scripted([2, 50], num_envs=2, stride=0)
    scores = scripted_agent.evaluate(env, episodes=10)
    assert scores["episode_length"] == 26.0
    assert scores["return"] == (payoff(2) + payoff(50)) / 2
    first_finished = [length for _, length in naive_episodes(env, 50)][:10]
    assert np.mean(first_finished) == 2.0  # what an evaluator in a hurry would report


def test_lengths_that_alternate_in_every_copy(scripted_agent):
    env = Scripted([3, 31], num_envs=4)
    scores = scripted_agent.evaluate(env, episodes=8)
    returns = [payoff(3), payoff(31)]
    assert scores["episodes"] == 8
    assert scores["episode_length"] == 17.0
    assert scores["return"] == np.mean(returns)
    assert scores["return_std"] == pytest.approx(np.std(returns))
    assert (scores["return_min"], scores["return_max"]) == tuple(returns)


@pytest.mark.parametrize("episodes", [1, 2, 5])
def test_plays_exactly_the_episodes_asked_for(scripted_agent, episodes):
    """Shares of 5 among 3 copies: 2, 2, 1. More copies than episodes: some idle."""
    env = Scripted([2, 5, 11], num_envs=3, stride=0)
    scores = scripted_agent.evaluate(env, episodes)
    played = [2, 5, 11, 2, 5][:episodes]
    assert scores["episodes"] == episodes
    assert scores["episode_length"] == pytest.approx(np.mean(played))
    assert scores["return"] == pytest.approx(np.mean([payoff(n) for n in played]))


def test_episodes_longer_than_a_block(scripted_agent):
    scores = scripted_agent.evaluate(Scripted([700]), episodes=1)
    assert scores["return"] == payoff(700)


def test_rows_that_are_not_transitions_do_not_count(scripted_agent):
    env = Scripted([2, 6], num_envs=2, next_step_reset=True, junk=1000.0)
    scores = scripted_agent.evaluate(env, episodes=6)
    assert scores["episode_length"] == 4.0
    assert scores["return"] == (payoff(2) + payoff(6)) / 2


def test_greedy_plays_one_arm_and_sampling_both():
    agent = A2C.for_env(Bandit(), hidden=(), seed=0)
    greedy = agent.evaluate(Bandit(8), episodes=64)
    assert greedy["return_std"] == 0.0
    sampled = agent.evaluate(Bandit(8), episodes=64, greedy=False)
    assert 0.2 < sampled["return"] < 0.8
    assert agent.evaluate(Bandit(8), 64, greedy=False) == sampled
    assert agent.evaluate(Bandit(8), 64, greedy=False, seed=1) != sampled


@pytest.mark.parametrize(
    ("env", "limit"),
    [
        (lambda: envs.make("Endless-1", max_episode_steps=None), 300),  # never ends
        (lambda: envs.make("Endless-1"), 9),  # ends after 10
    ],
)
def test_an_episode_beyond_the_limit_is_an_error(env, limit):
    agent = A2C.for_env("Endless-1", hidden=(), seed=0)
    with pytest.raises(ValueError, match=f"at most {limit} steps"):
        agent.evaluate(env(), episodes=2, max_episode_steps=limit)


def test_an_episode_of_just_the_limit_is_none():
    agent = A2C.for_env("Endless-1", hidden=(), seed=0)
    scores = agent.evaluate("Endless-1", episodes=2, max_episode_steps=10)
    assert scores["episode_length"] == 10.0


def test_gymnasium_gives_what_tensorflow_gives(chain_agent):
    """A greedy episode of `Chain-5` needs no random number."""
    chain_agent.network.get_layer("policy").bias.assign([0.0, 5.0])
    in_graph = chain_agent.evaluate("Chain-5", episodes=3)
    made = gymnasium.wrappers.TimeLimit(Chain5(), 50)
    for env in (made, lambda: gymnasium.wrappers.TimeLimit(Chain5(), 50)):
        assert chain_agent.evaluate(env, episodes=3) == in_graph
    assert in_graph["episode_length"] == 4.0
    assert in_graph["return"] == 1.0


@pytest.mark.parametrize("episodes", [0, -1, 1.5])
def test_a_number_of_episodes_that_is_none_is_refused(chain_agent, episodes):
    with pytest.raises(ValueError, match="`episodes` to be an integer >= 1"):
        chain_agent.evaluate("Chain-5", episodes=episodes)


def test_an_environment_with_other_spaces_is_refused(chain_agent):
    with pytest.raises(ValueError, match=r"observations this agent was made for.*5"):
        chain_agent.evaluate("CartPole-v1", episodes=1)


def test_the_same_gymnasium_environment_cannot_train_and_validate():
    """Silently it would cut the training episodes short."""
    env = envs.GymnasiumEnvironment("CartPole-v1", num_envs=2)
    agent = A2C.for_env(env, hidden=(), seed=0, xla=False)
    with pytest.raises(RuntimeError, match="an environment each"):
        agent.fit(env, steps=40, epochs=2, validation_env=env, verbose=0)
    env.close()
