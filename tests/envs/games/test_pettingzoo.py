"""The bridge from PettingZoo: rows, masks, turns, players who leave."""

import sys
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.agents import PPO, RandomAgent
from kerasrl2.envs.games import PettingZooEnvironment, PettingZooSeat
from kerasrl2.errors import EnvironmentFailure
from kerasrl2.multi_agent import Match, Seat

pytest.importorskip("pettingzoo")
from pettingzoo import ParallelEnv

TICTACTOE = "classic/tictactoe-v3"
PLAIN = {"seed": 0, "xla": False}


class Leaving(ParallelEnv):
    """`b` leaves after one step, `a` after three; rewards are 10 + t and 20 + t."""

    metadata: ClassVar = {"name": "leaving"}

    def __init__(self, spaces_of_b=None, fails=False):
        self.possible_agents, self.fails, self.actions = ["a", "b"], fails, []
        self._b = spaces_of_b or (spaces.Box(-9, 99, [1]), spaces.Discrete(2))

    def observation_space(self, agent):
        return self._b[0] if agent == "b" else spaces.Box(-9, 99, [1])

    def action_space(self, agent):
        return self._b[1] if agent == "b" else spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.agents, self.t = ["a", "b"], 0
        return {a: self.seen(a) for a in self.agents}, {a: {} for a in self.agents}

    def seen(self, agent):
        value = np.float32([self.t + (10 if agent == "a" else 20)])
        space = self.observation_space(agent)
        return np.resize(value, space.shape).astype(space.dtype)

    def step(self, actions):
        self.actions.append(actions)
        if self.fails:
            raise RuntimeError("no more")
        self.t += 1
        played = self.agents
        ends = {a: self.t >= (3 if a == "a" else 1) for a in played}
        rewards = {a: float(self.seen(a).flat[0]) for a in played}
        seen = {a: self.seen(a) for a in played}
        self.agents = [a for a in played if not ends[a]]
        nothing = dict.fromkeys(played, False)
        return seen, rewards, ends, nothing, {a: {} for a in played}

    def close(self):
        self.agents = []


def played(env, actions):
    """List of `TimeStep`s as arrays."""
    state, first = env.reset(tf.constant([0, 0]))
    steps = []
    for t, action in enumerate(actions):
        state, step = env.step(state, tf.constant(action), tf.constant([0, t]))
        steps.append(tf.nest.map_structure(lambda x: x.numpy(), step))
    return tf.nest.map_structure(lambda x: x.numpy(), first), steps


def test_rows_of_a_player_who_has_left_are_no_transitions():
    env = PettingZooEnvironment(Leaving, num_games=2)
    assert (env.num_envs, env.num_players, env.players) == (4, 2, ("a", "b"))
    first, steps = played(env, [[0, 1, 1, 0]] * 4)
    assert first[:, 0].tolist() == [10, 20] * 2
    rows = {
        name: [getattr(step, name).reshape(4)[:2].tolist() for step in steps]
        for name in ("reward", "terminated", "valid", "next_observation", "observation")
    }
    assert rows["reward"] == [[11, 21], [12, 0], [13, 0], [11, 21]]
    assert rows["terminated"] == [[0, 1], [0, 0], [1, 0], [0, 1]]
    assert rows["valid"] == [[1, 1], [1, 0], [1, 0], [1, 1]]
    assert rows["next_observation"] == [[11, 21], [12, 21], [13, 21], [11, 21]]
    assert rows["observation"] == [[11, 21], [12, 21], [10, 20], [11, 21]]
    games = env.games
    assert [game.actions[0] for game in games] == [{"a": 0, "b": 1}, {"a": 1, "b": 0}]
    assert games[0].actions[1] == {"a": 0}


@pytest.mark.long
def test_an_agent_trains_although_players_leave():
    env = PettingZooEnvironment(Leaving, num_games=2)
    agent = PPO.for_env(env, hidden=(4,), rollout_length=12, batch_size=24, **PLAIN)
    history = agent.fit(env, steps=64, epochs=1, verbose=0).history
    # Of 6 rows in 3 steps of a game 4 are transitions: 32 of 48 in a rollout.
    assert history["env_steps"] == [64]
    assert history["episodes"] == [32.0]
    assert history["return"] == [(11 + 12 + 13 + 21) / 2]
    scores = agent.evaluate(PettingZooEnvironment(Leaving), episodes=4)
    assert scores["return"] == 28.5


def test_who_waits_has_one_legal_action():
    env = PettingZooEnvironment(TICTACTOE, num_games=1)
    first, steps = played(env, [[4, 0], [0, 2], [3, 0], [0, 1], [5, 0]])
    assert first["action_mask"].tolist() == [[1] * 9, [1] + [0] * 8]
    assert steps[0].observation["action_mask"].tolist() == [
        [1] + [0] * 8, [1, 1, 1, 1, 0, 1, 1, 1, 1],
    ]  # fmt: skip
    assert steps[-1].reward.tolist() == [1.0, -1.0]  # 4, 3, 5 is a row
    assert steps[-1].terminated.tolist() == [True, True]
    assert all(step.valid.all() for step in steps)
    np.testing.assert_array_equal(
        steps[-1].observation["action_mask"], first["action_mask"]
    )


@pytest.mark.long
def test_a_match_of_random_players():
    """The first player wins 58.5 % of random games, loses 28.8 %: known figures."""
    env = PettingZooEnvironment(TICTACTOE, num_games=20)
    agent = RandomAgent.for_env(env, seed=0)
    returns = Match(env, [agent, agent]).play(episodes=400)
    np.testing.assert_allclose(returns.sum(axis=1), 0.0)
    won, lost = (returns[:, 0] > 0).mean(), (returns[:, 0] < 0).mean()
    assert abs(won - 0.585) < 0.08
    assert abs(lost - 0.288) < 0.08


@pytest.mark.long
def test_an_agent_learns_in_one_seat_against_another():
    env = PettingZooEnvironment(TICTACTOE, num_games=4)
    opponent = PPO.for_env(env, hidden=(8,), seed=1)
    seat = Seat(env, opponent)
    agent = PPO.for_env(seat, hidden=(8,), rollout_length=16, batch_size=32, **PLAIN)
    before = [w.numpy() for w in opponent.weights]
    history = agent.fit(seat, steps=128, epochs=1, verbose=0).history
    assert history["env_steps"] == [128]
    assert history["episodes"][0] > 8
    for a, b in zip(opponent.weights, before, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


class TestSeat:
    """One agent for each player, who may have different spaces."""

    OTHER = spaces.Box(-9, 99, [3]), spaces.Box(-1.0, 1.0, [2])

    @pytest.mark.long
    def test_different_spaces(self):
        def others(observation):
            assert observation.shape == (3,)
            return np.float64([0.5, -0.5])

        seat = PettingZooSeat(Leaving, "a", {"b": others}, spaces_of_b=self.OTHER)
        assert seat.observation_space.shape == (1,)
        agent = PPO.for_env(lambda: seat, hidden=(4,), rollout_length=6, num_envs=1,
                            batch_size=6, **PLAIN)  # fmt: skip
        history = agent.fit(seat, steps=12, epochs=1, verbose=0).history
        assert history["return"] == [36.0]
        actions = seat.game.actions[0]["b"]
        assert actions.dtype == np.float32
        assert actions.tolist() == [0.5, -0.5]

    def test_agents_and_masks(self):
        env = PettingZooEnvironment(TICTACTOE)
        agent = RandomAgent.for_env(env, seed=0)
        seat = PettingZooSeat(TICTACTOE, "player_2", {"player_1": agent})
        seen, _ = seat.reset(seed=0)
        assert seen["action_mask"].tolist() == [1] + [0] * 8
        seen, reward, *_ = seat.step(0)
        assert seen["action_mask"].sum() == 8
        assert reward == 0.0
        assert RandomAgent.for_env(lambda: seat, seed=0).evaluate(
            lambda: PettingZooSeat(TICTACTOE, "player_2", {"player_1": agent}), 3
        )["episodes"] == 3  # fmt: skip

    def test_names(self):
        with pytest.raises(ValueError, match=r"one of a, b as `player`.*'c'"):
            PettingZooSeat(Leaving, "c", {})
        with pytest.raises(ValueError, match=r"`others` for all others.*none"):
            PettingZooSeat(Leaving, "a", {})


class TestBadInput:
    def test_different_spaces(self):
        with pytest.raises(
            ValueError, match=r"equal spaces.*'a' in leaving.*'b'.*Seat"
        ):
            PettingZooEnvironment(Leaving, spaces_of_b=TestSeat.OTHER)

    def test_without_pettingzoo(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pettingzoo", None)
        with pytest.raises(ImportError, match=r'pip install "kerasrl2\[pettingzoo\]"'):
            PettingZooEnvironment("classic/rps-v2")

    @pytest.mark.parametrize(
        ("env", "settings", "message"),
        [
            (Leaving(), {"num_games": 2}, r"an id or a callable.*num_games=2"),
            (lambda: 3, {}, r"`pettingzoo.ParallelEnv` or `AECEnv`.*3, of int"),
            (3, {}, r"an id of PettingZoo, a module.*3"),
            (Leaving, {"num_games": 0}, r"`num_games`.*0"),
            ("classic/tictacto-v3", {}, r"id of PettingZoo.*tictacto.*tictactoe-v3"),
            ("nothing", {}, r"id of PettingZoo.*nothing"),
        ],
    )
    def test_what_is_no_game(self, env, settings, message):
        with pytest.raises(ValueError, match=message):
            PettingZooEnvironment(env, **settings)

    def test_an_error_in_a_game_is_named(self):
        env = PettingZooEnvironment(Leaving, num_games=2, fails=True)
        with pytest.raises(EnvironmentFailure, match=r"`step` of leaving .*no more"):
            played(env, [[0, 0, 0, 0]])
        agent = RandomAgent.for_env(env, **PLAIN)
        with pytest.raises(EnvironmentFailure, match="no more"):
            agent.fit(env, steps=64, epochs=1, verbose=0)
