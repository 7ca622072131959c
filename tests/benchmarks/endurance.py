"""Ten million env steps: memory, traces and speed from one tenth to the next.

    python -m tests.benchmarks.endurance [ppo|dqn] [--steps 10000000]

CartPole-v1 in TensorFlow. Prints one JSON line: for each tenth the resident memory in
MB, env steps per second, and microseconds of processor time a step, which other work on
the machine disturbs less; and how often the loop was traced.
"""

import argparse
import json
import os
import platform
import time

from tests.benchmarks.speed import PPO, resident_megabytes

WORK = {
    "ppo": PPO["ppo-zoo"],
    "dqn": {
        "num_envs": 8, "learning_starts": 1000, "target_update_interval": 500,
        "buffer_size": 100_000, "prioritized": True,
    },
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithm", choices=sorted(WORK), nargs="?", default="ppo")
    parser.add_argument("--steps", type=int, default=10_000_000)
    arguments = parser.parse_args()
    import kerasrl2 as krl
    from kerasrl2.cli.machine import set_threads

    set_threads(1)
    hyperparameters = WORK[arguments.algorithm]
    agent = krl.agents.algorithm(arguments.algorithm).for_env(
        "CartPole-v1", seed=0, **hyperparameters
    )
    env = krl.envs.make("CartPole-v1", num_envs=8)
    tenths = {"megabytes": [], "steps_per_second": [], "microseconds": []}
    loop = agent.loop_on(env)
    loop.compile()
    for tenth in range(1, 11):
        before = int(agent.env_steps)
        wall, cpu = time.perf_counter(), time.process_time()
        steps = arguments.steps * tenth // 10 - before
        agent.fit(env, steps=steps, epochs=1, verbose=0)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        made = int(agent.env_steps) - before
        tenths["megabytes"].append(round(resident_megabytes(), 1))
        tenths["steps_per_second"].append(round(made / wall))
        tenths["microseconds"].append(round(1e6 * cpu / made, 2))
    line = {
        "algorithm": arguments.algorithm,
        "env_steps": int(agent.env_steps),
        "gradient_steps": int(agent.optimizer.iterations),
        **tenths,
        "traces": loop.num_traces,
        "same_loop": loop is agent.loop_on(env),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
