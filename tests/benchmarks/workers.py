"""What A3C learns, episode by episode, one JSON line a run.

    python -m tests.benchmarks.workers CartPole-v0 --episodes 600 [--seeds 5]
    python -m tests.benchmarks.workers Pendulum-v1 --episodes 2000
        [--output docs/results/a3c.jsonl] [--set NAME=VALUE]

Four workers with the tuned settings of the zoo. Episodes are recorded in the order in
which they end, whichever worker plays them, in Gymnasium's environments; Pendulum is
that of TensorFlow, whose episodes all take 200 steps: an epoch is 100 of them.
`first_190` is the first episode at whose end the mean of the latest 50 returns is at
least 190, `last_100` the mean of the last 100 returns. `--shuffled` plays random
actions instead of those that it learns from: the control, which must not learn.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import threading
import time
from pathlib import Path

import gymnasium
import numpy as np

from tests.benchmarks.scores import emit


class Recorder(gymnasium.Wrapper):
    """Appends the return of each finished episode to a list that others share."""

    def __init__(self, env, returns, lock, shuffled):
        super().__init__(env)
        self._returns, self._lock, self._total = returns, lock, 0.0
        self._shuffled = shuffled

    def reset(self, **arguments):
        self._total = 0.0
        return self.env.reset(**arguments)

    def step(self, action):
        if self._shuffled:
            action = self.env.action_space.sample()
        result = self.env.step(action)
        self._total += float(result[1])
        if result[2] or result[3]:
            with self._lock:
                self._returns.append(self._total)
        return result


def play(env_id, episodes, seed, overrides, shuffled=False, reached=np.inf):
    """Trains until so many episodes have ended; returns a dictionary.

    Or, but for Pendulum, until the mean of the latest 50 returns has reached so much.
    """
    import keras

    from kerasrl2 import agents, zoo

    returns, lock = [], threading.Lock()
    settings = {**zoo.settings("a3c", env_id), **overrides}
    settings.pop("steps", None)

    class Enough(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            latest = returns[-50:]
            solved = len(latest) == 50 and np.mean(latest) >= reached
            self.model.stop_training = solved or len(returns) >= episodes

    def make():
        return Recorder(gymnasium.make(env_id), returns, lock, shuffled)

    agent = agents.A3C.for_env(env_id, seed=seed, **settings)
    started = time.perf_counter()
    if env_id == "Pendulum-v1" and not shuffled:
        run = {"env": env_id, "steps": 200 * episodes, "epochs": episodes // 100}
    else:
        run = {"env": make, "steps": 10**8, "epochs": 1, "callbacks": [Enough()]}
    history = agent.fit(verbose=0, **run)
    seconds = time.perf_counter() - started
    logs = {name: values[-1] for name, values in history.history.items()}
    of_workers = [int(v) for k, v in logs.items() if k.endswith("_episodes")]
    if not returns:
        returns = np.repeat(history.history["return"], 100)
    returns = np.array(returns[:episodes])
    means = np.convolve(returns, np.ones(50) / 50, "valid")
    enough = np.flatnonzero(means >= 190.0)
    return {
        "algorithm": "a3c" + " shuffled" * shuffled,
        "env": env_id,
        "seed": seed,
        "episodes": episodes,
        "first_190": int(enough[0]) + 50 if len(enough) else None,
        "last_100": round(float(returns[-100:].mean()), 1),
        "means_of_100": [round(float(part.mean()), 1) for part in _hundreds(returns)],
        "episodes_of_workers": of_workers,
        "env_steps": int(agent.env_steps),
        "seconds": round(seconds, 1),
        **({"set": overrides} if overrides else {}),
    }


def _hundreds(returns):
    return np.split(returns, range(100, len(returns), 100))


def main():
    from kerasrl2.cli.values import parse_assignments

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env")
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--output", type=Path, default=None)
    given = parser.parse_args()
    overrides = parse_assignments(given.set)
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        line = play(given.env, given.episodes, seed, overrides, given.shuffled)
        emit(line, given.output)


if __name__ == "__main__":
    main()
