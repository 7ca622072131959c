"""Training in turns, and self-play against a pool."""

import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.agents import A2C, PPO
from kerasrl2.envs.games import PettingZooEnvironment, RockPaperScissors
from kerasrl2.errors import CheckpointError
from kerasrl2.multi_agent import SelfPlay, train_in_turns
from kerasrl2.multi_agent.self_play import Frozen

SMALL = {"hidden": (8,), "xla": False}


def agents(game, seeds=(0, 1), **more):
    return [A2C.for_env(game, seed=seed, **SMALL, **more) for seed in seeds]


class TestTurns:
    @pytest.mark.long
    def test_each_learns_in_its_own_seat(self):
        game = RockPaperScissors(num_games=4)
        ours = [*agents(game, (0,)), PPO.for_env(game, seed=1, rollout_length=10,
                                                 batch_size=20, **SMALL)]  # fmt: skip
        before = [agent.network.get_weights()[0] for agent in ours]
        history = train_in_turns(ours, game, rounds=3, steps=80)
        assert history["env_steps"] == [160, 320, 480]
        assert np.shape(history["return"]) == (3, 2)
        for agent, old in zip(ours, before, strict=True):
            assert int(agent.env_steps) == 240
            assert (agent.network.get_weights()[0] != old).any()
        assert [loop_of(agent).num_traces for agent in ours] == [1, 1]

    def test_rounds(self, eager):
        game = RockPaperScissors(num_games=2, max_episode_steps=2)
        ours = agents(game, rollout_length=2)
        history = train_in_turns(ours, game, rounds=2, steps=4)
        assert history["env_steps"] == [8, 16]
        assert np.shape(history["return"]) == (2, 2)

    def test_bad_input(self):
        game = RockPaperScissors()
        ours = agents(game)
        with pytest.raises(ValueError, match=r"2 different agents.*1 different ones"):
            train_in_turns([ours[0]] * 2, game, 1, 80)
        with pytest.raises(ValueError, match=r"2 different agents.*of 3"):
            train_in_turns([*ours, *agents(game, (2,))], game, 1, 80)
        with pytest.raises(ValueError, match=r"`rounds`"):
            train_in_turns(ours, game, 0, 80)


def loop_of(agent):
    (found,) = agent._runtime._loops.values()
    return found[2]


class TestSelfPlay:
    @pytest.mark.long
    def test_rounds(self):
        game = RockPaperScissors(num_games=8)
        agent, opponent = agents(game)
        play = SelfPlay(agent, opponent, game, pool_size=3, episodes=16)
        history = play.fit(rounds=5, steps=80)
        assert history["opponent"][0] == 0
        assert all(made <= i for i, made in enumerate(history["opponent"]))
        assert [frozen.round for frozen in play.pool] == [3, 4, 5]
        assert history["env_steps"] == [80, 160, 240, 320, 400]
        assert all(0.0 <= score <= 1.0 for score in history["score"])
        weights = zip(play.pool[-1].weights, agent.network.weights, strict=True)
        for kept, weight in weights:
            np.testing.assert_array_equal(kept, weight.numpy())
        assert loop_of(agent).num_traces == 1
        # What moved the agent's rating moved the first opponent's the other way.
        change = 32.0 * (history["score"][0] - 0.5)
        assert history["rating"][0] == pytest.approx(change)
        assert history["opponent_rating"][0] == pytest.approx(-change)
        assert (
            history["opponent"]
            == SelfPlay(*agents(game), game, pool_size=3, episodes=16).fit(
                rounds=5, steps=80
            )["opponent"]
        )

    @pytest.mark.long
    def test_resumed_bit_for_bit(self, tmp_path):
        game, ends = RockPaperScissors(num_games=8), {"whole": [4], "cut": [2, 4]}
        plays = {}
        for name, rounds in ends.items():
            for end in rounds:  # each by agents that are new
                play = SelfPlay(*agents(game), game, pool_size=2, episodes=16)
                play.fit(end, 80, tmp_path / name, resume=True)
                plays[name] = play
        whole, cut = plays["whole"], plays["cut"]
        assert whole.history == cut.history
        assert len(cut.history["score"]) == 4
        assert whole.state() == cut.state()
        for name, variable in whole.variables().items():
            np.testing.assert_array_equal(variable, cut.variables()[name], name)
        for ours, theirs in zip(whole.pool, cut.pool, strict=True):
            for a, b in zip(ours.weights, theirs.weights, strict=True):
                np.testing.assert_array_equal(a, b)

    @pytest.mark.long
    def test_checkpoints_of_others_are_refused(self, tmp_path):
        game = RockPaperScissors(num_games=8)
        play = SelfPlay(*agents(game), game, episodes=16)
        play.fit(1, 80, tmp_path)
        with pytest.raises(ValueError, match=r"without checkpoints, or `resume=True`"):
            play.fit(1, 80, tmp_path)
        with pytest.raises(ValueError, match=r"`checkpoint_dir` with `resume`"):
            play.fit(1, 80, resume=True)
        other = SelfPlay(*agents(game), game, pool_size=3)
        with pytest.raises(CheckpointError, match=r"with pool_size 10. Received: 3"):
            other.fit(1, 80, tmp_path, resume=True)
        wide = [A2C.for_env(game, hidden=(9,), xla=False, seed=i) for i in range(2)]
        with pytest.raises(CheckpointError, match=r"an agent like that of .*kernel"):
            SelfPlay(*wide, game).fit(1, 80, tmp_path, resume=True)

    def test_the_opponent_has_the_weights_of_the_pool(self):
        game = RockPaperScissors(num_games=8)
        agent, opponent = agents(game)
        play = SelfPlay(agent, opponent, game)
        noise = [np.full(w.shape, 0.5, w.dtype.name) for w in play.pool[0].weights]
        play.face(Frozen(0, noise, 0.0))
        assert all((w.numpy() == 0.5).all() for w in opponent.network.weights)
        assert int(opponent.env_steps) == 0
        assert (agent.network.weights[0].numpy() != 0.5).any()

    def test_equal_strength_is_drawn_more_often(self):
        game = RockPaperScissors()
        play = SelfPlay(*agents(game), game, newest_probability=0.0)
        play.pool = [Frozen(i, [], rating) for i, rating in enumerate((-800, 0, 800))]
        drawn = np.bincount([play._drawn() for _ in range(400)], minlength=3) / 400
        shares = np.array([0.0098039, 0.25, 0.0098039])  # of e (1 - e), e = 1/101
        np.testing.assert_allclose(drawn, shares / shares.sum(), atol=0.06)

    @pytest.mark.learning
    def test_it_learns_to_beat_a_biased_opponent(self):
        """Against a pool with a bias for rock one learns paper."""
        game = RockPaperScissors(num_games=16)
        for seed in range(3):
            agent, opponent = agents(game, (seed, seed + 10), learning_rate=0.02)
            play = SelfPlay(agent, opponent, game, newest_probability=1.0, seed=seed)
            for variable in opponent.network.weights:
                variable.assign(variable * 0.0)
            biases = [w for w in play.pool[0].weights if w.shape == (3,)]
            biases[0][:] = [5.0, 0.0, 0.0]
            history = play.fit(rounds=1, steps=8000)
            assert history["score"][0] > 0.9

    def test_bad_input(self):
        game = RockPaperScissors()
        agent, opponent = agents(game)
        other = A2C.for_env(game, hidden=(9,), xla=False)
        table = PettingZooEnvironment("classic/rps-v2")
        for arguments, more, message in [
            ((agent, agent, game), {}, "another agent.*the agent itself"),
            ((agent, other, game), {}, "with the same variables"),
            ((agent, opponent, table), {}, "a game in TensorFlow.*rps"),
            ((agent, opponent, krl.envs.make("CartPole-v1")), {}, "several players"),
            ((agent, opponent, game), {"k": 0}, "`k`"),
            ((agent, opponent, game), {"pool_size": 0}, "`pool_size`"),
            ((agent, opponent, game), {"newest_probability": 2}, "`newest_prob"),
        ]:
            with pytest.raises(ValueError, match=message):
                SelfPlay(*arguments, **more)
