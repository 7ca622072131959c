"""Tests of `kerasrl2.multi_agent.Seat` and `Match`."""

import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import A2C, RandomAgent
from kerasrl2.envs.games import ContinuousDoubleAuction, RockPaperScissors
from kerasrl2.multi_agent import Match, Seat, score_of
from tests.multi_agent.players import Fixed

ROCK, PAPER, SCISSORS = range(3)
SMALL = {"hidden": (8,), "seed": 0, "xla": False}


def step(env, action, seed=0):
    state, _ = env.reset(tf.constant([0, 0]))
    return env.step(state, tf.constant(action), tf.constant([1, seed]))


def test_a_player_sees_and_gets_its_own_rows(compiled):
    game = RockPaperScissors(num_games=3)
    seat = Seat(game, Fixed(game, ROCK), seat=1)
    assert seat.num_envs == 3
    state, seen = seat.reset(tf.constant([0, 0]))
    assert seen.shape == (3, 4)
    play = compiled(seat.step)
    _, after = play(state, tf.constant([ROCK, PAPER, SCISSORS]), tf.constant([0, 1]))
    assert after.reward.numpy().tolist() == [0.0, 1.0, -1.0]
    assert np.argmax(after.observation, axis=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("seat", [0, 1, 2, None])
def test_each_opponent_sits_where_it_should(seat):
    """Traders that offer a number of units that tells who they are."""
    game = ContinuousDoubleAuction(num_games=3, num_traders=3, max_size=4)
    players = [Fixed(game, [4, size, 4]) for size in (1, 2)]
    own = [4, 0, 4]
    state, _ = step(Seat(game, players, seat=seat), [own] * 3)
    sizes = state.env_state.physics.book.size[:, 1].numpy()
    for g, row in enumerate(sizes):
        first = g % 3 if seat is None else seat
        assert row[first] == 1
        assert [row[(first + k) % 3] for k in (1, 2)] == [2, 3]
    # One agent in all other seats.
    state, _ = step(Seat(game, players[1], seat=seat), [own] * 3)
    sizes = state.env_state.physics.book.size[:, 1].numpy()
    assert np.sort(sizes, axis=1).tolist() == [[1, 3, 3]] * 3


def test_opponents_remember_until_an_episode_ends():
    """It plays the number of steps so far: 0, 1, 2, then anew."""
    game = RockPaperScissors(num_games=2, max_episode_steps=3)
    counter = Fixed(game, function=lambda seen, count: tf.minimum(count, 2))
    seat = Seat(game, counter, seat=0)
    state, _ = seat.reset(tf.constant([0, 0]))
    shown = []
    for t in range(6):
        state, after = seat.step(state, tf.constant([0, 0]), tf.constant([0, t]))
        shown.append(int(np.argmax(after.next_observation[0])) - 1)
    assert shown == [0, 1, 2, 0, 1, 2]


@pytest.mark.long
def test_new_weights_of_an_opponent_compile_nothing():
    game = RockPaperScissors(num_games=4)
    opponent = Fixed(game, ROCK)
    seat = Seat(game, opponent)
    agent = A2C.for_env(seat, learning_rate=0.05, **SMALL)
    agent.fit(seat, steps=2000, epochs=1, verbose=0)
    assert agent.evaluate(seat, episodes=4)["return"] >= 9.0
    loop = agent.loop_on(seat)
    opponent.action.assign(PAPER)
    assert agent.evaluate(seat, episodes=4)["return"] < 0.0
    agent.fit(seat, steps=40, epochs=1, verbose=0)
    assert agent.loop_on(seat) is loop
    assert loop.num_traces == 1


def test_an_agent_of_the_package_and_chance():
    game = RockPaperScissors(num_games=64)
    seat = Seat(game, RandomAgent.for_env(game, seed=0), seat=0)
    rock = tf.zeros([64], tf.int32)
    shown = [np.argmax(step(seat, rock, s)[1].observation, 1) for s in (0, 0, 1)]
    np.testing.assert_array_equal(shown[0], shown[1])
    assert (shown[0] != shown[2]).any()
    assert set(shown[0]) == {1, 2, 3}


@pytest.mark.long
def test_resumed_bit_for_bit(tmp_path):
    def run(steps, directory=None):
        game = RockPaperScissors(num_games=4)
        opponent = A2C.for_env(game, hidden=(8,), seed=7)
        agent = A2C.for_env(game, **SMALL)
        agent.fit(
            Seat(game, opponent), steps, epochs=2, verbose=0,
            checkpoint_dir=directory, resume=directory is not None,
        )  # fmt: skip
        return agent

    whole = run(400)
    run(200, tmp_path)
    resumed = run(400, tmp_path)
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


class TestMatch:
    def test_returns_of_each_seat(self):
        game = RockPaperScissors(num_games=3, max_episode_steps=4)
        rock, paper = (Fixed(game, action) for action in (ROCK, PAPER))
        returns = Match(game, [rock, paper]).play(episodes=5)
        assert returns.tolist() == [[-4.0, 4.0]] * 5
        assert score_of(returns) == 0.0
        assert score_of(returns, seat=1) == 1.0
        assert Match(game, [rock, rock]).play(2).tolist() == [[0.0, 0.0]] * 2

    def test_seeds_and_modes(self):
        game = RockPaperScissors(num_games=32)
        agent = A2C.for_env(game, **SMALL)
        match = Match(game, [agent, RandomAgent.for_env(game, seed=0)])
        first, again, other = (match.play(40, seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
        np.testing.assert_allclose(first.sum(axis=1), 0.0)
        assert not np.array_equal(first[:8], first[32:])  # other games

    def test_an_endless_game(self, monkeypatch):
        monkeypatch.setattr(krl.multi_agent.matches, "MAX_EPISODE_STEPS", 20)
        game = RockPaperScissors(max_episode_steps=None)
        rock = Fixed(game, ROCK)
        with pytest.raises(ValueError, match=r"at most 20 steps.*time limit"):
            Match(game, [rock, rock]).play(1)


def test_shared_best_returns_count_half():
    returns = np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 5.0]])
    assert [score_of(returns, seat) for seat in range(3)] == pytest.approx(
        [0.5, 1 / 6, 1 / 3]
    )


def bad_seats():
    game = RockPaperScissors()
    rock, alone = Fixed(game), krl.envs.make("CartPole-v1")
    auction = ContinuousDoubleAuction()
    return [
        (lambda: Seat(alone, rock), r"several players.*CartPole-v1"),
        (lambda: Seat(game, rock, seat=2), r"`seat` from 0 to 1.*2"),
        (lambda: Seat(game, [rock, rock]), r"Expected 1 opponents.*Received: 2"),
        (lambda: Seat(auction, rock), r"observations this agent was made for"),
        (lambda: Match(game, [rock]), r"Expected 2 agents.*Received: 1"),
        (lambda: Match(auction, [rock] * 4), r"observations this agent was made for"),
        (lambda: Match(game, [rock, rock]).play(0), r"`episodes`.*0"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_bad_input(number):
    make, message = bad_seats()[number]
    with pytest.raises(ValueError, match=message):
        make()
