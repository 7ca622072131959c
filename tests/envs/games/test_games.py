"""The contract of games, with rock-paper-scissors."""

import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import DQN, PPO
from kerasrl2.envs.games import RockPaperScissors
from kerasrl2.envs.games.core import check_game


@pytest.mark.parametrize("own", range(3))
@pytest.mark.parametrize("other", range(3))
def test_every_pair_of_moves(compiled, own, other):
    env = RockPaperScissors(num_games=2)
    state, _ = env.reset(tf.constant([0, 0]))
    step = compiled(env.step)
    moves = tf.constant([own, other, 1, 0])
    _, time_step = step(state, moves, tf.constant([0, 1]))
    beats = {(1, 0), (2, 1), (0, 2)}
    won = float((own, other) in beats) - float((other, own) in beats)
    assert time_step.reward.numpy().tolist() == [won, -won, 1.0, -1.0]
    seen = np.argmax(time_step.observation, axis=1)
    assert seen.tolist() == [other + 1, own + 1, 1, 2]


def test_episodes_end_for_all_players_at_once():
    env = RockPaperScissors(num_games=2, max_episode_steps=3)
    state, first = env.reset(tf.constant([0, 0]))
    for t in range(3):
        state, step = env.step(state, tf.constant([0, 1, 2, 2]), tf.constant([0, t]))
    assert step.truncated.numpy().all()
    assert not step.terminated.numpy().any()
    np.testing.assert_array_equal(step.observation, first)
    assert (step.next_observation != first).numpy().any(axis=1).all()


@pytest.mark.parametrize(
    ("agent_class", "settings"),
    [
        pytest.param(
            DQN, {"learning_starts": 16, "buffer_size": 200}, marks=pytest.mark.long
        ),
        pytest.param(
            PPO, {"rollout_length": 10, "batch_size": 20}, marks=pytest.mark.long
        ),
    ],
)
def test_an_agent_trains_in_all_seats(agent_class, settings):
    """Parameter sharing: nothing in agents knows of games."""
    env = RockPaperScissors(num_games=4)
    agent = agent_class.for_env(env, hidden=(4,), seed=0, xla=False, **settings)
    history = agent.fit(env, steps=160, epochs=1, verbose=0).history
    assert history["return"] == [0.0]  # zero-sum
    assert history["env_steps"] == [160]
    assert history["episodes"] == [16.0]


def test_the_report_of_check():
    findings = krl.envs.check(RockPaperScissors(num_games=2))
    assert not [f for f in findings if f.severity == "error"]


def test_what_is_no_game():
    check_game(RockPaperScissors())
    for env in (krl.envs.make("CartPole-v1"), "CartPole-v1"):
        with pytest.raises(ValueError, match=r"several players.*CartPole-v1"):
            check_game(env)
    env = RockPaperScissors()
    env.num_games = 5
    with pytest.raises(ValueError, match=r"num_players rows. Received: 5 \* 2, and 2"):
        check_game(env)
