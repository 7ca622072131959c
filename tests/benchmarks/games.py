"""Agents in games of several players, over seeds, one JSON line a run.

python -m tests.benchmarks.games auction --output docs/results/multi_agent.jsonl
python -m tests.benchmarks.games tictactoe --output docs/results/multi_agent.jsonl
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import time
from pathlib import Path

from kerasrl2.agents import PPO, RandomAgent
from kerasrl2.envs.games import ContinuousDoubleAuction, PettingZooEnvironment
from kerasrl2.multi_agent import Match, Seat
from tests.benchmarks.scores import emit

TRADERS, EPISODES = 4, 200
TRADER = {
    "rollout_length": 100, "batch_size": 200, "num_epochs": 4, "learning_rate": 1e-3,
    "entropy_coefficient": 0.01, "normalize_rewards": True,
}  # fmt: skip
PLAYER = {
    "hidden": (64, 64), "rollout_length": 32, "batch_size": 128, "num_epochs": 4,
    "learning_rate": 1e-3, "entropy_coefficient": 0.01, "gamma": 1.0,
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("game", choices=("auction", "tictactoe"))
    parser.add_argument("--seeds", type=int, nargs=2, default=[0, 5])
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--mark", default="first", choices=("first", "last"))
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    for seed in range(*arguments.seeds):
        started = time.perf_counter()
        if arguments.game == "auction":
            line = auction(seed, arguments.steps or 200_000, arguments.mark)
        else:
            line = tictactoe(seed, arguments.steps or 40_000)
        line["seconds"] = round(time.perf_counter() - started, 1)
        line["command"] = f"python -m tests.benchmarks.games {arguments.game}"
        emit(line, arguments.output)


def auction(seed, steps, mark):
    """One trader is trained against three random ones; profits of 200 episodes."""
    market = ContinuousDoubleAuction(16, TRADERS, mark=mark)
    noise = RandomAgent.for_env(market, seed=seed)
    seat = Seat(market, noise)
    trader = PPO.for_env(seat, seed=seed, **TRADER)
    untrained = PPO.for_env(seat, seed=seed, **TRADER)
    trader.fit(seat, steps, epochs=1, verbose=0)
    line = {"game": "auction", "mark": mark, "seed": seed, "steps": steps}
    for name, agent in (
        ("trained", trader),
        ("untrained", untrained),
        ("random", None),
    ):
        others = [noise] * (TRADERS - 1)
        first = RandomAgent.for_env(market, seed=seed + 1) if agent is None else agent
        profit = Match(market, [first, *others]).play(EPISODES, seed=1000 + seed)
        line[f"profit_{name}"] = round(float(profit[:, 0].mean()), 1)
        line[f"profitable_{name}"] = round(float((profit[:, 0] > 0).mean()), 3)
        line["largest_sum"] = float(abs(profit.sum(axis=1)).max())
    return line


def tictactoe(seed, steps):
    """One agent learns both seats by playing itself; then against random players."""
    table = PettingZooEnvironment("classic/tictactoe-v3", num_games=16)
    agent = PPO.for_env(table, seed=seed, **PLAYER)
    agent.fit(table, steps, epochs=1, verbose=0)
    other = PettingZooEnvironment("classic/tictactoe-v3", num_games=20)
    noise = RandomAgent.for_env(other, seed=seed)
    line = {"game": "tictactoe", "seed": seed, "steps": steps}
    for seat in range(2):
        players = [agent, noise] if seat == 0 else [noise, agent]
        returns = Match(other, players, greedy=True).play(EPISODES, seed=seed)[:, seat]
        for name, share in (("won", returns > 0), ("lost", returns < 0)):
            line[f"{name}_in_seat_{seat}"] = round(float(share.mean()), 3)
    return line


if __name__ == "__main__":
    main()
