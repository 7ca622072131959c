"""What V-trace is good for: learning from rollouts of older weights. JSON lines.

    python -m tests.benchmarks.lag [--lags 0 8 32] [--seeds 5] [--steps 150000]
        [--output FILE]

IMPALA on CartPole-v1 with a worker in this process, whose rollouts are always of the
weights so many versions ago; the same learner with V-trace and without. `return` is the
mean of the last fifth of the run, `learned` the number of seeds above 195.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
from pathlib import Path
from unittest import mock

import numpy as np

from tests.benchmarks.scores import emit


def play(lag, vtrace, seed, steps, overrides=None):
    """The mean return of the last fifth of a run."""
    import kerasrl2 as krl
    from kerasrl2.distributed import StaleRolloutLearner, Workers
    from tests.distributed.local import LocalPool

    settings = {"num_envs": 8, "rollout_length": 20, "learning_rate": 5e-3}
    agent = krl.agents.IMPALA.for_env(
        "CartPole-v1", vtrace=vtrace, seed=seed, **{**settings, **(overrides or {})}
    )
    workers = Workers(1, in_flight=lag + 1, ordered=True)

    def stale(agent, workers):
        return StaleRolloutLearner

    with (
        mock.patch("kerasrl2.distributed.pool.Pool", LocalPool),
        mock.patch("kerasrl2.agents.fitting.learner_of", stale),
        mock.patch("kerasrl2.agents.runtime.learner_of", stale),
    ):
        history = agent.fit(
            "CartPole-v1", steps=steps, epochs=10, verbose=0, workers=workers
        ).history
    return float(np.nanmean(history["return"][-2:])), float(np.mean(history["lag"][1:]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lags", type=int, nargs="+", default=[0, 8, 32])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    for lag in options.lags:
        for vtrace in (True, False):
            runs = [play(lag, vtrace, s, options.steps) for s in range(options.seeds)]
            returns = [total for total, _ in runs]
            line = {"benchmark": "lag", "lag": runs[0][1], "vtrace": vtrace}
            line |= {"return": round(float(np.mean(returns)), 1), "returns": returns}
            line["learned"] = sum(total > 195.0 for total in returns)
            emit({**line, "steps": options.steps}, options.output)


if __name__ == "__main__":
    main()
