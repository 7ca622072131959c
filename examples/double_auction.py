"""Several agents: one learns to trade in a double auction against random traders.

    python examples/double_auction.py [--steps N]

All trade in one limit order book. Profits of all traders add up to 0.
"""

import argparse

import kerasrl2 as krl

STEPS = 200_000
NUM_GAMES, NUM_TRADERS = 16, 4
SEED = 0


def main():
    """Trains one trader and lets it play against the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    market = krl.envs.games.ContinuousDoubleAuction(NUM_GAMES, NUM_TRADERS)
    noise = krl.agents.RandomAgent.for_env(market, seed=SEED)
    seat = krl.multi_agent.Seat(market, noise)
    trader = krl.agents.PPO.for_env(
        seat,
        normalize_rewards=True,
        rollout_length=100,
        batch_size=200,
        num_epochs=4,
        entropy_coefficient=0.01,
        learning_rate=1e-3,
        seed=SEED,
    )
    trader.fit(seat, steps=steps, epochs=min(10, -(-steps // 1_600)))

    players = [trader, *[noise] * (NUM_TRADERS - 1)]
    profit = krl.multi_agent.Match(market, players).play(episodes=100)
    print("mean profit of an episode, in ticks")
    print(f"  trained trader {profit[:, 0].mean():9.1f}")
    print(f"  random traders {profit[:, 1:].mean():9.1f} each")
    print(f"  sum of all     {profit.sum(axis=1).mean():9.1f}")


if __name__ == "__main__":
    main()
