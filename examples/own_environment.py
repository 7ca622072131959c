"""An environment of your own in Python: a small `gymnasium.Env`.

    python examples/own_environment.py [--steps N]

A robot on a grid looks for the exit; each step costs 0.05, a step into a wall as well.
"""

import argparse

import gymnasium
import numpy as np

import kerasrl2 as krl

STEPS = 60_000
SIZE = 5
MOVES = [(0, 1), (0, -1), (1, 0), (-1, 0)]
SEED = 1


class Grid(gymnasium.Env):
    """`SIZE` x `SIZE` cells; the exit and the robot's first cell are random."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, [4], np.float32)
    action_space = gymnasium.spaces.Discrete(len(MOVES))

    def __init__(self, max_episode_steps=50):
        self.max_episode_steps = max_episode_steps

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)  # makes `self.np_random`
        cells = self.np_random.choice(SIZE * SIZE, 2, replace=False)
        self.robot, self.exit = (np.array(divmod(int(c), SIZE)) for c in cells)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        self.robot = np.clip(self.robot + MOVES[int(action)], 0, SIZE - 1)
        self.steps += 1
        found = bool((self.robot == self.exit).all())  # a state of value 0
        cut = self.steps >= self.max_episode_steps  # not one: only time is up
        return self._observe(), 1.0 if found else -0.05, found, cut, {}

    def _observe(self):
        cells = np.concatenate([self.robot, self.exit])
        return (2 * cells / (SIZE - 1) - 1).astype(np.float32)


def main():
    """Trains on the class above and evaluates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    agent = krl.agents.PPO.for_env(
        Grid,
        num_envs=8,
        rollout_length=64,
        batch_size=128,
        learning_rate=1e-3,
        entropy_coefficient=0.01,
        seed=SEED,
    )
    # A callable makes as many copies as the agent wants; the class itself is one.
    agent.fit(Grid, steps=steps, epochs=min(5, steps // 512))
    print(agent.evaluate(Grid, episodes=100))


if __name__ == "__main__":
    main()
