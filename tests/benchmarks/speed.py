"""Training speed on the standard workloads, one JSON line each.

    python -m tests.benchmarks.speed ppo-zoo [--backend gymnasium] [--seconds 10]
    python -m tests.benchmarks.speed all --peers DIR [--repeats 3]

`--peers DIR` runs Stable-Baselines3 and SBX on the same work right after, with the
interpreter `DIR/torch/bin/python` that has them (see `peers.py`), and sb3-contrib for
TRPO; with `--repeats` all of them take turns, and a line for each gives the median of
its runs. Start-up, tracing and compilation are outside the clock and are printed beside
the speed.

The speed of `dqn-...` and of `sac`, `td3`, `crossq` and `tqc` is that of the peers'
run: as many steps from an empty buffer, those before the first update included.
`learning` is the median of five blocks after that, between `slowest` and `fastest`. The
speed of the others, where each step is learned from, is the median of five blocks.
"""

import argparse
import functools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()
CARTPOLE = {"gamma": 0.98, "lambda_": 0.8, "learning_rate": 1e-3, "clip_range": 0.2}
PPO = {
    "ppo-zoo": {
        "num_envs": 8, "rollout_length": 32, "num_epochs": 20, "batch_size": 256,
        **CARTPOLE,
    },
    "ppo-wide": {
        "num_envs": 256, "rollout_length": 32, "num_epochs": 4, "batch_size": 2048,
    },
    "ppo-envpool": {
        "num_envs": 256, "rollout_length": 32, "num_epochs": 4, "batch_size": 2048,
    },
    "ppo-dict": {
        "num_envs": 8, "rollout_length": 32, "num_epochs": 20, "batch_size": 256,
        **CARTPOLE,
    },
    "ppo-flat": {
        "num_envs": 8, "rollout_length": 32, "num_epochs": 20, "batch_size": 256,
        **CARTPOLE,
    },
    "ppo-recurrent": {  # an LSTM each for policy and value, as the peer's, alone
        "num_envs": 8, "rollout_length": 128, "num_epochs": 10, "batch_size": 256,
        "recurrent": "lstm", "recurrent_units": 64, "hidden": (), "learning_rate": 1e-3,
    },
    "ppo-atari": {
        "num_envs": 8, "rollout_length": 128, "num_epochs": 4, "batch_size": 256,
        "hidden": (512,), "activation": "relu", "shared_trunk": True,
    },
}  # fmt: skip
TRPO = {
    "trpo": {
        "num_envs": 8, "rollout_length": 128, "num_epochs": 10, "batch_size": 128,
    },
}  # fmt: skip
A2C = {"a2c": {"num_envs": 8, "rollout_length": 5}}
CONTROL = {  # Pendulum-v1 of Gymnasium, an update a step
    name: {
        "hidden": (256, 256), "batch_size": 256, "learning_rate": 3e-4,
        "buffer_size": 100_000, "learning_starts": 100,
    }
    for name in ("sac", "td3", "crossq", "tqc")
}  # fmt: skip
EACH_STEP = {"hidden": (64, 64), "learning_starts": 1000, "target_update_interval": 500}
STEPS = {  # of a run from its beginning
    "dqn-each-step": 10_000, "dqn-zoo": 50_000, "dqn-atari": 4_000,
    **dict.fromkeys(CONTROL, 3_000),
}  # fmt: skip
DQN = {
    "dqn-each-step": EACH_STEP,
    "dqn-zoo": {
        "hidden": (256, 256), "learning_rate": 2.3e-3, "learning_starts": 1000,
        "train_frequency": 256, "gradient_steps": 128, "target_update_interval": 128,
    },
    "dqn-atari": {
        "hidden": (512,), "batch_size": 32, "train_frequency": 4,
        "buffer_size": 20_000, "learning_starts": 500, "learning_rate": 1e-4,
        "target_update_interval": 1000,
    },
    "dqn-tensorflow": EACH_STEP,
    "dqn-tensorflow-8": {**EACH_STEP, "num_envs": 8, "gradient_steps": 8},
}  # fmt: skip
# One learner that steps 8 environments, and workers that step 8 each.
WORKERS = {
    "a2c-8x20": {"num_envs": 8, "rollout_length": 20},
    **{
        f"a3c-{n}": {"num_envs": 8, "rollout_length": 20, "workers": n}
        for n in (1, 2, 4)
    },
}
# The others: CartPole-v1. DQN plays Gymnasium's, but for the last two.
ATARI = "ppo-atari", "dqn-atari"
ENVS = {
    **dict.fromkeys(ATARI, "ALE/SpaceInvaders-v5"),
    **dict.fromkeys(CONTROL, "Pendulum-v1"),
}
IN_TENSORFLOW = ("dqn-tensorflow", "dqn-tensorflow-8")
WORKLOADS = [
    *PPO,
    "ppo-zoo-gymnasium",
    *TRPO,
    "trpo-gymnasium",
    *A2C,
    "a2c-gymnasium",
    *DQN,
    *CONTROL,
    *WORKERS,
    "act",
    "scaling",
    "memory",
]
ALONE = (*IN_TENSORFLOW, *WORKERS, "ppo-dict", "ppo-flat")  # no peer has the same work
ONE_THREAD = {
    "ppo-zoo", "act", "memory", "dqn-each-step", "dqn-zoo", *IN_TENSORFLOW,
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=[*WORKLOADS, "all"])
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--peers", type=Path, default=None)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--policy", default=None, help="Keras' dtype policy")
    parser.add_argument("--graph", action="store_true", help="no XLA")
    arguments = parser.parse_args()
    if arguments.workload == "all" or arguments.peers or arguments.repeats > 1:
        run_side_by_side(arguments)
        return
    measure(arguments)


def run_side_by_side(arguments):
    """Each workload in a process of its own, taking turns with the peers'."""
    names = WORKLOADS if arguments.workload == "all" else [arguments.workload]
    script = str(Path(__file__).with_name("peers.py"))
    for name in names:
        command = [sys.executable, "-m", "tests.benchmarks.speed", name]
        command += ["--seconds", str(arguments.seconds)]
        command += ["--graph"] if arguments.graph else []
        command += ["--policy", arguments.policy] if arguments.policy else []
        if arguments.threads:
            command += ["--threads", str(arguments.threads)]
        commands = [[*command, "--backend", arguments.backend]]
        work = name.removesuffix("-gymnasium")
        compared = work in {**PPO, **TRPO, **A2C, **DQN, **CONTROL}
        compared = compared and work not in ALONE
        if arguments.peers and compared:
            python = str(arguments.peers / "torch" / "bin" / "python")
            # SBX needs minutes to compile these, or has no such algorithm.
            few = {*ATARI, *TRPO, *A2C, "ppo-envpool", "ppo-recurrent"}
            libraries = ["sb3"] if work in few else ["sb3", "sbx"]
            commands += [[python, script, library, work] for library in libraries]
        turns = commands * arguments.repeats
        lines = [line for command in turns for line in run(command)]
        if arguments.repeats > 1:
            print_medians(lines)


def run(command):
    """Runs a command, shows what it prints, and returns its JSON lines."""
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    lines = [line for line in made.stdout.splitlines() if line.startswith("{")]
    print(*lines, sep="\n", flush=True)
    return [json.loads(line) for line in lines]


def print_medians(lines):
    for library in dict.fromkeys(line["library"] for line in lines):
        own = [line for line in lines if line["library"] == library]
        summary = {"library": library, "workload": own[0]["workload"]}
        for name in ("value", "learning"):
            if name in own[0]:
                values = [line[name] for line in own]
                summary[f"median_{name}"] = round(statistics.median(values), 1)
                summary[f"all_{name}"] = [round(value, 1) for value in values]
        print(json.dumps(summary), flush=True)


def measure(arguments):
    name, backend = arguments.workload, arguments.backend
    if name.endswith("-gymnasium"):
        name, backend = name.removesuffix("-gymnasium"), "gymnasium"
    threads = arguments.threads or (1 if name in ONE_THREAD else 2)
    import keras

    import kerasrl2 as krl
    from kerasrl2.cli.machine import set_threads

    _ = krl.agents
    set_threads(threads)
    imported = time.perf_counter() - STARTED
    base = {"library": "kerasrl2", "workload": name, "threads": threads}
    base["import_seconds"] = round(imported, 2)
    if arguments.policy:
        keras.config.set_dtype_policy(arguments.policy)
        base["policy"] = arguments.policy
    if name == "act":
        report(base, "ms/action", 1e3 * act_seconds())
    elif name == "scaling":
        for num_envs in (1, 8, 64, 256, 2048):
            hyperparameters = {
                "num_envs": num_envs,
                "rollout_length": 32,
                "num_epochs": 4,
            }
            hyperparameters["batch_size"] = max(32, min(2048, 8 * num_envs))
            made = make("PPO", hyperparameters, backend)
            speed, details = loop_speed(*made, arguments.seconds / 3)
            microseconds = 1e6 / speed
            report(base | details | {"num_envs": num_envs}, "us/env_step", microseconds)
    elif name == "memory":
        memory(base)
    else:
        tables = {"PPO": PPO, "TRPO": TRPO, "DQN": DQN}
        found = [key for key, table in tables.items() if name in table]
        algorithm = found[0] if found else name.partition("-")[0].upper()
        algorithm = {"CROSSQ": "CrossQ"}.get(algorithm, algorithm)
        env_id = ENVS.get(name, "CartPole-v1")
        if name in MADE:
            env_id = MADE[name]()
        if name in STEPS and name not in ATARI:
            backend = "gymnasium"
        every = {**PPO, **TRPO, **A2C, **DQN, **CONTROL, **WORKERS}
        hyperparameters = every[name]
        if arguments.graph:
            hyperparameters = {**hyperparameters, "xla": False}
        speed, details = loop_speed(
            *make(algorithm, hyperparameters, backend, env_id), arguments.seconds
        )
        if name in STEPS:
            details["learning"] = round(speed, 1)
            agent, env = make(algorithm, hyperparameters, backend, env_id)
            speed = run_speed(agent, env, STEPS[name])
        report(base | details, "env_steps/s", speed)


def make(algorithm, hyperparameters, backend, env_id="CartPole-v1"):
    """`(agent, env)` of a workload."""
    import kerasrl2 as krl

    make_env = functools.partial(
        krl.envs.make,
        env_id,
        num_envs=hyperparameters.get("num_envs", 1),
        backend=backend,
    )
    env = make_env()
    agent = getattr(krl.agents, algorithm).for_env(env, seed=0, **hyperparameters)
    return agent, agent.multiplied(env, make_env)


def pool():
    """256 CartPoles of EnvPool, in its threads."""
    import envpool

    return envpool.make("CartPole-v1", env_type="gymnasium", num_envs=256)


def in_parts(flat=False):
    """A callable that makes Gymnasium's CartPole with its observation in a `Dict`."""
    import gymnasium

    class Parts(gymnasium.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            low, high = env.observation_space.low, env.observation_space.high
            self.observation_space = gymnasium.spaces.Dict(
                {
                    "cart": gymnasium.spaces.Box(low[:2], high[:2]),
                    "pole": gymnasium.spaces.Box(low[2:], high[2:]),
                }
            )

        def observation(self, observation):
            return {"cart": observation[:2], "pole": observation[2:]}

    def make_one():
        env = Parts(gymnasium.make("CartPole-v1", disable_env_checker=True))
        return gymnasium.wrappers.FlattenObservation(env) if flat else env

    return make_one


MADE = {
    "ppo-envpool": pool,
    "ppo-dict": in_parts,
    "ppo-flat": lambda: in_parts(flat=True),
}


def loop_speed(agent, env, seconds):
    """Median speed of five equal blocks after compilation, and what came before."""
    loop = agent.loop(env)
    started = time.perf_counter()
    loop.compile()
    compiled = time.perf_counter() - started
    first = getattr(agent, "learning_starts", 0) // loop.steps_per_iteration
    loop.run(first + 1)  # from here on it learns
    started = time.perf_counter()
    loop.run(1)
    warm_up = 10 if time.perf_counter() - started < 0.2 else 1
    started = time.perf_counter()
    loop.run(warm_up)
    iterations = int(warm_up * seconds / 5 / (time.perf_counter() - started))
    iterations = max(1, iterations)
    speeds = []
    for _ in range(5):
        started = time.perf_counter()
        loop.run(iterations)
        elapsed = time.perf_counter() - started
        speeds.append(iterations * loop.steps_per_iteration / elapsed)
    details = {
        "environment": "tensorflow" if env.in_graph else "python",
        "compile_seconds": round(compiled, 2),
        "slowest": round(min(speeds), 1),
        "fastest": round(max(speeds), 1),
    }
    return statistics.median(speeds), details


def run_speed(agent, env, steps):
    """Speed of a run of so many steps from its beginning, after compilation."""
    loop = agent.loop(env)
    loop.compile()
    started = time.perf_counter()
    loop.run(steps // loop.steps_per_iteration)
    made = steps // loop.steps_per_iteration * loop.steps_per_iteration
    return made / (time.perf_counter() - started)


def act_seconds():
    """Median time of one observation in, one action out, 64-64."""
    import numpy as np

    import kerasrl2 as krl

    agent = krl.agents.PPO.for_env("CartPole-v1", seed=0)
    observation = np.zeros(4, np.float32)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(500):
            agent.act(observation)
        times.append((time.perf_counter() - started) / 500)
    return statistics.median(times[2:])


def memory(base):
    """Resident memory after 10^5 and after 10^6 env steps of `ppo-zoo`."""
    import kerasrl2 as krl

    env = krl.envs.make("CartPole-v1", num_envs=8)
    agent = krl.agents.PPO.for_env(env, seed=0, **PPO["ppo-zoo"])
    sizes = {}
    for steps in (100_000, 500_000, 1_000_000):
        left = steps - int(agent.env_steps)
        agent.fit(env, steps=left, epochs=1, verbose=0)
        sizes[f"mb_at_{steps}"] = round(resident_megabytes(), 1)
    growth = sizes["mb_at_1000000"] - sizes["mb_at_100000"]
    report(base | sizes, "MB grown from 1e5 to 1e6 env steps", growth)


def resident_megabytes():
    """Resident memory of this process now (its peak, where /proc is missing)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(base, unit, value):
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    line = {**base, "unit": unit, "value": round(value, 3), "machine": machine}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
