"""Scores over seeds, with the tuned settings of the zoo, one JSON line a run.

    python -m tests.benchmarks.scores ppo CartPole-v1 [--seeds 5] [--steps N]
    python -m tests.benchmarks.scores all --output docs/results/scores.jsonl
    python -m tests.benchmarks.scores table docs/results/scores.jsonl

The first makes one row of the table again. Each agent is evaluated greedily on 100
episodes after its last step, with seeds of their own; `random` is the floor: uniformly
random actions. With `--best` (and for the claims on DQN) the agent is also evaluated
ten times during training, on 20 episodes, and `best` is the return of the best of these
ten on 100 other episodes. A line keeps the learning curve: `training_returns` at
`curve_steps`, with `--best` also `evaluations`; `tests.benchmarks.curves` draws it.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path

import keras

from kerasrl2 import zoo
from tests.benchmarks.score_table import read_runs, table

EPISODES = 100
CLAIMS = [  # algorithm, environment, steps, the return to reach, in how many of 5
    ("ppo", "CartPole-v1", 100_000, 475.0, 5),
    ("a2c", "CartPole-v1", 500_000, 475.0, 4),
    ("reinforce", "CartPole-v1", 500_000, 475.0, 4),
    ("q_actor_critic", "CartPole-v1", 300_000, 475.0, 4),
    ("ppo", "Acrobot-v1", 300_000, -90.0, 5),
    ("ppo", "Pendulum-v1", 300_000, -250.0, 5),
    ("trpo", "CartPole-v1", 100_000, 475.0, 5),
    ("trpo", "Pendulum-v1", 300_000, -250.0, 5),
    ("ppo kl", "CartPole-v1", 100_000, 475.0, 4),
    ("ppo vtrace", "CartPole-v1", 100_000, 475.0, 4),
    ("a2c vtrace", "CartPole-v1", 500_000, 475.0, 4),
    ("dqn", "CartPole-v0", 40_000, 195.0, 4),
    ("dqn double", "CartPole-v0", 40_000, 195.0, 4),
    ("dqn", "Acrobot-v1", 100_000, -90.0, 4),
    ("dqn", "MountainCar-v0", 120_000, -115.0, 4),
    ("dqn", "GridBreakout-v0", 150_000, 0.4, 3),  # more than random
    ("rainbow", "GridBreakout-v0", 150_000, 0.4, 3),  # more than dqn
    ("dqn", "GridSpaceInvaders-v0", 150_000, 4.1, 3),  # more than random
    ("rainbow", "GridSpaceInvaders-v0", 150_000, 4.1, 3),  # more than dqn
    ("dqn", "LunarLander-v3", 100_000, 200.0, 3),
    ("dqn", "BitFlip-15", 160_000, -8.0, 4),
    ("sac", "Pendulum-v1", 10_000, -200.0, 4),
    ("td3", "Pendulum-v1", 10_000, -200.0, 4),
    ("ddpg", "Pendulum-v1", 20_000, -250.0, 4),
    ("tqc", "Pendulum-v1", 10_000, -200.0, 4),
    ("redq", "Pendulum-v1", 6_000, -200.0, 4),
    ("crossq", "Pendulum-v1", 10_000, -200.0, 4),
    ("discrete_sac", "CartPole-v1", 20_000, 475.0, 4),
]
PENALTY = {"clip_range": None, "kl_coefficient": 1.0, "adaptive_kl_target": 0.01}
VARIANTS = {
    "dqn double": ("dqn", {"double": True}),
    "dqn without hindsight": ("dqn", {"hindsight": None}),
    "ppo kl": ("ppo", PENALTY),
    "ppo vtrace": ("ppo", {"vtrace": True}),
    "a2c vtrace": ("a2c", {"vtrace": True}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*zoo.algorithms(), *VARIANTS]
    parser.add_argument("algorithm", choices=[*names, "random", "all", "table"])
    parser.add_argument("env", nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--best", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.algorithm == "table":
        print(table(read_runs(Path(arguments.env))))
        return
    from kerasrl2.cli.values import parse_assignments

    overrides = parse_assignments(arguments.set)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    jobs = [(arguments.algorithm, arguments.env, arguments.steps)]
    if arguments.algorithm == "all":
        jobs = [claim[:3] for claim in CLAIMS]
        jobs += [("random", env, None) for env in sorted({c[1] for c in CLAIMS})]
    for algorithm, env_id, steps in jobs:
        best = arguments.best or algorithm.startswith("dqn")
        for seed in seeds:
            line = play(algorithm, env_id, steps, seed, overrides, best)
            emit(line, arguments.output)


def play(algorithm, env_id, steps, seed, overrides, best):
    """Trains with one seed and evaluates; `random` only evaluates."""
    from kerasrl2.zoo.build import tuned_agent

    base = {"algorithm": algorithm, "env": env_id, "seed": seed}
    algorithm, variant = VARIANTS.get(algorithm, (algorithm, {}))
    overrides = {**variant, **overrides}
    if algorithm == "random":
        return {**base, "steps": 0, **random_scores(env_id, seed)}
    agent, env, steps = tuned_agent(algorithm, env_id, steps, seed, overrides=overrides)
    started = time.perf_counter()
    keeper = BestWeights() if best else None
    history = agent.fit(
        env,
        steps=steps,
        epochs=10,
        verbose=0,
        callbacks=[keeper] if best else None,
        validation_env=env_id if best else None,
        validation_episodes=20,
    )
    seconds = time.perf_counter() - started
    scores = agent.evaluate(env_id, episodes=EPISODES, seed=10_000 + seed)
    made, chosen = int(agent.env_steps), {}  # `env_steps` is among the weights
    if best:
        agent.set_weights(keeper.weights)
        again = agent.evaluate(env_id, episodes=EPISODES, seed=20_000 + seed)
        chosen = {"best": round(again["return"], 2), "best_at": keeper.env_steps}
    training = history.history["return"]
    evaluations = [round(v, 2) for v in history.history.get("val_return", [])]
    return {
        **base,
        "steps": made,
        "return": round(scores["return"], 2),
        "return_std": round(scores["return_std"], 2),
        **chosen,
        "training_returns": [round(value, 1) for value in training],
        "curve_steps": [int(value) for value in history.history["env_steps"]],
        **({"evaluations": evaluations} if best else {}),
        "seconds": round(seconds, 1),
        **({"set": overrides} if overrides else {}),
    }


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the latest of the best evaluations."""

    def __init__(self):
        super().__init__()
        self.best = -float("inf")

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_return"] >= self.best:
            self.best, self.env_steps = logs["val_return"], logs["env_steps"]
            self.weights = self.model.get_weights()


def random_scores(env_id, seed):
    """Mean return of uniformly random actions over `EPISODES` episodes."""
    import gymnasium
    import numpy as np

    if env_id.startswith("Grid"):  # in TensorFlow only: an agent that does not know yet
        from kerasrl2.agents import DQN

        agent = DQN.for_env(env_id, seed=seed)
        scores = agent.evaluate(env_id, EPISODES, greedy=False, seed=10_000 + seed)
        return {name: round(scores[name], 2) for name in ("return", "return_std")}
    env = gymnasium.make(env_id)
    env.action_space.seed(seed)
    returns = []
    for episode in range(EPISODES):
        env.reset(seed=10_000 * (seed + 1) + episode)
        total, ended = 0.0, False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    mean, deviation = float(np.mean(returns)), float(np.std(returns))
    return {"return": round(mean, 2), "return_std": round(deviation, 2)}


def emit(line, output):
    names = ("kerasrl2", "tensorflow", "keras", "gymnasium", "numpy")
    line["versions"] = {name: importlib.metadata.version(name) for name in names}
    line["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    text = json.dumps(line)
    print(text, flush=True)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("a") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
