"""Agents learn and play in vector environments."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import kerasrl2 as krl
from tests.envs.vectors import LENGTHS, MODES, counting

PPO = {"rollout_length": 8, "batch_size": 8, "num_epochs": 1, "hidden": [8]}
DQN = {"hidden": [8], "learning_starts": 16, "batch_size": 8, "buffer_size": 100}
DQN |= {"train_frequency": 4}
NEXT, SAME = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP
LONG = pytest.mark.long


def scores(episodes):
    """Return and length of each of the first episodes of `counting`'s environments."""
    returns, lengths = [], []
    share, rest = divmod(episodes, len(LENGTHS))
    for i, length in enumerate(LENGTHS):
        for episode in range(share + (i < rest)):
            returns.append(sum(10.0 * episode + t for t in range(1, length + 1)))
            lengths.append(length)
    return returns, lengths


def test_returns_and_lengths_are_exact():
    agent = krl.agents.PPO.for_env(counting(SAME), seed=0, **PPO)
    for mode in MODES:
        for episodes in (3, 7):
            told = agent.evaluate(counting(mode), episodes=episodes)
            returns, lengths = scores(episodes)
            assert told["return"] == pytest.approx(np.mean(returns))
            assert told["return_std"] == pytest.approx(np.std(returns))
            assert told["episode_length"] == pytest.approx(np.mean(lengths))
            assert told["episodes"] == episodes


@pytest.mark.parametrize(
    ("algorithm", "settings", "mode"),
    [
        pytest.param(krl.agents.PPO, PPO, NEXT, marks=LONG),
        (krl.agents.DQN, {**DQN, "xla": False}, NEXT),
        pytest.param(krl.agents.PPO, PPO, SAME, marks=LONG),
        pytest.param(krl.agents.DQN, DQN, SAME, marks=LONG),
        pytest.param(krl.agents.A2C, {"hidden": [8]}, NEXT, marks=LONG),
        pytest.param(krl.agents.Rainbow, DQN, NEXT, marks=LONG),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_training_counts_transitions_and_episodes(algorithm, settings, mode):
    vector = counting(mode)
    agent = algorithm.for_env(vector, seed=0, **settings)
    history = agent.fit(vector, steps=72, epochs=1, verbose=0).history
    assert not vector.closed  # whoever makes it closes it
    rows, played = 0, 0  # of vector steps; of them transitions
    ends = [0, 0, 0]
    while played < int(agent.env_steps):
        rows += 1
        for i, length in enumerate(LENGTHS):
            row = (rows - 1) % (length + (mode is NEXT))
            played += row < length
            ends[i] += row == length - 1
    assert played == int(agent.env_steps)
    expected = np.dot(ends, LENGTHS) / sum(ends)
    assert history["episode_length"][-1] == pytest.approx(expected)


@pytest.mark.long
def test_callables_are_called_once_and_closed():
    made = []

    def make():
        made.append(SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2))
        return made[-1]

    agent = krl.agents.PPO.for_env(make, seed=0, num_envs=8, **PPO)
    assert [vector.closed for vector in made] == [True]
    agent.fit(make, steps=64, epochs=1, verbose=0)
    agent.evaluate(make, episodes=5)
    assert len(made) == 3
    agent.close()
    assert all(vector.closed for vector in made)


@pytest.mark.long
def test_one_object_with_two_users_is_refused():
    vector = counting(SAME)
    agent = krl.agents.PPO.for_env(vector, seed=0, **PPO)
    with pytest.raises(RuntimeError, match="another environment as `validation_env`"):
        agent.fit(vector, steps=64, validation_env=vector, verbose=0)


@pytest.mark.learning
@pytest.mark.filterwarnings("ignore:.*precision lowered")
def test_ppo_learns_in_envpool():
    envpool = pytest.importorskip("envpool")
    pool = envpool.make("CartPole-v1", "gymnasium", num_envs=8, seed=0)
    agent = krl.agents.PPO.for_env(pool, seed=0)
    agent.fit(pool, steps=60_000, verbose=0)
    assert agent.evaluate(pool, episodes=10)["return"] >= 475
