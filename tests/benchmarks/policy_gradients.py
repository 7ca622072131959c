"""Policy gradients from whole episodes and from single steps, over seeds.

    python -m tests.benchmarks.policy_gradients reinforce [--seeds 20]
    python -m tests.benchmarks.policy_gradients all --output FILE
    python -m tests.benchmarks.policy_gradients table FILE

One JSON line a run on CartPole-v0 (episodes of at most 200 steps). All returns are
those of training episodes, of a policy that explores, in the order in which they ended.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import keras
import tensorflow as tf

from kerasrl2.agents import A2C, QActorCritic, Reinforce
from kerasrl2.callbacks import StopWhenSolved
from tests.benchmarks.scores import emit

ENV = "CartPole-v0"


class Shuffled(Reinforce):
    """A control: each step is taken to have had the action of another one.

    What an episode's actions were on the whole still depends on them: an episode with
    more pushes to the left ends on the right.
    """

    def prepare(self, rollout, learner_state):
        batch, learner_state = super().prepare(rollout, learner_state)
        key = self.of_update(batch.valid.shape)
        # The valid rows of one environment come first, and so do their shuffled ones.
        order = tf.argsort(tf.where(batch.valid, key, 2.0))
        return batch._replace(action=tf.gather(batch.action, order)), learner_state

    def of_update(self, shape):
        """Uniform numbers from 0 to 1 of the gradient step to come."""
        step = tf.cast(self.optimizer.iterations.value, tf.int32)
        return tf.random.stateless_uniform(shape, tf.stack([step, 7]))


class Unrelated(Shuffled):
    """A control: the loss is about actions that nobody took, drawn by a coin."""

    def prepare(self, rollout, learner_state):
        batch, learner_state = super().prepare(rollout, learner_state)
        coin = self.of_update(batch.valid.shape) < 0.5
        return batch._replace(action=tf.cast(coin, tf.int32)), learner_state


# One network of 30-30 units, returns normalised over the episode.
REINFORCE = {
    "hidden": (30, 30), "activation": "relu", "gamma": 0.99, "learning_rate": 3e-3,
    "baseline": None, "normalize_returns": True, "num_envs": 1, "rollout_length": 200,
}  # fmt: skip
EPISODIC = {
    "hidden": (128,), "activation": "relu", "shared_trunk": True, "gamma": 0.99,
    "learning_rate": 0.01, "normalize_returns": True, "huber_delta": 1.0,
    "value_coefficient": 1.0, "num_envs": 1, "rollout_length": 200,
}  # fmt: skip
PER_STEP = {
    "optimizer": "adam", "hidden": (64, 64), "learning_rate": 1e-4,
    "critic_learning_rate": 1e-3, "value_coefficient": 1.0, "rollout_length": 1,
    "entropy_coefficient": 0.01, "num_envs": 1, "max_gradient_norm": None,
}  # fmt: skip
ONE_OPTIMIZER = {
    **PER_STEP, "hidden": (128,), "activation": "relu", "shared_trunk": True,
    "critic_learning_rate": None, "learning_rate": 1e-3,
}  # fmt: skip
CASES = {  # class, settings, seeds, and the length: episodes, or steps and windows
    "reinforce": (Reinforce, REINFORCE, 20, 600),
    "shuffled actions": (Shuffled, REINFORCE, 20, 600),
    "unrelated actions": (Unrelated, REINFORCE, 20, 600),
    "episodic": (Reinforce, EPISODIC, 20, 600),
    "per step": (A2C, PER_STEP, 3, (60_000, 6)),
    "per step, one optimizer": (A2C, ONE_OPTIMIZER, 3, (60_000, 6)),
    "8 x 5 steps": (
        A2C,
        {**PER_STEP, "learning_rate": 1e-3, "critic_learning_rate": 3e-3,
         "rollout_length": 5, "num_envs": 8},
        3,
        (150_000, 6),
    ),
    "q": (
        QActorCritic,
        {"learning_rate": 3e-4, "critic_learning_rate": 3e-3},
        5,
        (150_000, 6),
    ),
}  # fmt: skip


class Returns(keras.callbacks.Callback):
    """Keeps the return of every episode; stops after so many."""

    def __init__(self, most=None):
        super().__init__()
        self.most, self.returns = most, []

    def on_episode_end(self, episode, logs):
        self.returns.append(logs["return"])
        if self.most is not None and len(self.returns) >= self.most:
            self.model.stop_training = True


def play(case, seed, episodes=None):
    """The line of a run."""
    agent_class, settings, _, length = CASES[case]
    agent = agent_class.for_env(ENV, seed=seed, **settings)
    line = {"case": case, "env": ENV, "seed": seed}
    started = time.perf_counter()
    if isinstance(length, tuple):
        steps, windows = length
        history = agent.fit(ENV, steps=steps, epochs=windows, verbose=0).history
        line["window_returns"] = [round(x, 1) for x in history["return"]]
        line["entropies"] = [round(x, 3) for x in history["entropy"]]
    else:
        length = episodes or length
        kept, solved = Returns(length), StopWhenSolved(195.0, "running")
        callbacks = [kept, solved] if case == "episodic" else [kept]
        agent.fit(ENV, steps=200 * length, epochs=1, callbacks=callbacks, verbose=0)
        if solved not in callbacks:
            for episode, total in enumerate(kept.returns):
                solved.on_episode_end(episode, {"return": total})
        line["episodes"] = len(kept.returns)
        line["last_100"] = round(statistics.mean(kept.returns[-100:]), 1)
        line["solved_at"] = solved.solved_at
        fifties = range(0, len(kept.returns), 50)
        means = [statistics.mean(kept.returns[i : i + 50]) for i in fifties]
        line["means_of_50"] = [round(mean, 1) for mean in means]
    line["steps"] = int(agent.env_steps)
    return {**line, "seconds": round(time.perf_counter() - started, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=[*CASES, "all", "table"])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.case == "table":
        print_table(arguments.file)
        return
    for case in CASES if arguments.case == "all" else [arguments.case]:
        seeds = arguments.seeds or CASES[case][2]
        for seed in range(arguments.first_seed, arguments.first_seed + seeds):
            emit(play(case, seed), arguments.output)


def print_table(path):
    """Markdown tables of a file's runs."""
    runs = {}
    for text in path.read_text().splitlines():
        line = json.loads(text)
        runs.setdefault(line["case"], {})[line["seed"]] = line
    print("| run | seeds | mean return of the last 100 of 600 episodes | >= 150 in |")
    print("|---|---|---|---|")
    for case in ("reinforce", "shuffled actions", "unrelated actions"):
        last = sorted(line["last_100"] for line in runs[case].values())
        reached = sum(value >= 150.0 for value in last)
        print(
            f"| {case} | {len(last)} | median {statistics.median(last):.1f}, "
            f"{last[0]:.1f} to {last[-1]:.1f} | {reached} |"
        )
    at = [line["solved_at"]["running"] for line in runs["episodic"].values()]
    solved = sorted(n for n in at if n is not None)
    print(
        f"\nEpisodic actor-critic: {len(solved)} of {len(at)} seeds solved within 600 "
        f"episodes, after {statistics.median(solved):.0f} (median), "
        f"{statistics.mean(solved):.0f} (mean), {solved[0]} to {solved[-1]} episodes.\n"
    )
    print("| run | seed | steps | mean return of each sixth of them |")
    print("|---|---|---|---|")
    for case, (*_, length) in CASES.items():
        for seed, line in sorted(runs.get(case, {}).items()):
            if isinstance(length, tuple):
                means = ", ".join(map(str, line["window_returns"]))
                print(f"| {case} | {seed} | {line['steps']:,} | {means} |")


if __name__ == "__main__":
    sys.exit(main())
