"""Time of one prioritized draw and priority update, one JSON line each.

    python -m tests.benchmarks.replay [--peers DIR] [--rounds 20]

The workload `per`: sample 256 whole transitions (three numbers as observation, action,
reward, discount, next observation, weight; all of them are used), write 256 priorities,
with 10^4 and with 10^6 slots, inside one compiled loop; the best of several short
rounds. `tree` is the sum tree alone. The new priorities come from a table, for the
peer, too. `--peers DIR` runs cpprb on the same work, with the interpreter
`DIR/torch/bin/python`, if it has it (`pip install cpprb`).
"""

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path

BATCH = 256
CAPACITIES = (10_000, 1_000_000)
PEER = """
import json, sys, time
import cpprb, numpy as np
for capacity in (10_000, 1_000_000):
    fields = {"obs": {"shape": 3}, "act": {}, "rew": {}, "next_obs": {"shape": 3},
              "done": {}}
    table = np.random.rand(128, 256) + 0.01
    buffer = cpprb.PrioritizedReplayBuffer(capacity, fields, alpha=0.6)
    for _ in range(0, capacity, 10_000):
        row = np.zeros(10_000)
        observation = np.random.rand(10_000, 3)
        buffer.add(obs=observation, act=row, rew=row, next_obs=observation, done=row,
                   priorities=np.random.rand(10_000) + 0.01)
    best = float("inf")
    for _ in range(int(sys.argv[1])):
        start = time.perf_counter()
        for number in range(500):
            batch = buffer.sample(256, beta=0.4)
            buffer.update_priorities(batch["indexes"], table[number % 128])
        best = min(best, (time.perf_counter() - start) / 500)
    line = {"library": "cpprb", "workload": "per", "slots": capacity}
    print(json.dumps(line | {"unit": "us/cycle", "value": round(best * 1e6, 1)}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import kerasrl2.buffers  # noqa: F401
    from kerasrl2.cli.machine import set_threads

    set_threads(arguments.threads)
    for name, make in (("tree", tree_loop), ("per", buffer_loop)):
        # In turns, so that a busy moment of the machine spoils none of them.
        loops = {capacity: make(capacity) for capacity in CAPACITIES}
        times = best_of(arguments.rounds, loops)
        for capacity, seconds in times.items():
            report(name, capacity, seconds * 1e6)
    if arguments.peers:
        run_peer(arguments.peers / "torch" / "bin" / "python", arguments.rounds)


def tree_loop(capacity):
    """A function that runs `n` cycles of a `SumTree`."""
    import tensorflow as tf

    from kerasrl2.buffers import SumTree
    from kerasrl2.buffers._variables import uniform

    tree = SumTree(capacity)
    tree.assign(tf.random.stateless_uniform([capacity], [0, 0], 0.01, 1.01))

    table = tf.random.stateless_uniform([128, BATCH], [0, 1], 0.01, 1.01, tf.float64)

    def cycle(seed):
        fraction = (tf.range(BATCH, dtype=tf.float64) + uniform([BATCH], seed)) / BATCH
        index, _ = tree.lookup(fraction * tree.total())
        tree.update(index, table[seed[0] % 128])
        return tf.reduce_sum(index)

    return compiled(cycle)


def buffer_loop(capacity, num_envs=100):
    """A function that runs `n` cycles of a full `PrioritizedReplayBuffer`."""
    import tensorflow as tf

    from kerasrl2.buffers import PrioritizedReplayBuffer

    buffer = PrioritizedReplayBuffer(capacity, num_envs)
    float_spec = tf.TensorSpec([3], tf.float32)
    buffer.build(float_spec, tf.TensorSpec([], tf.float32))
    row, flag = tf.zeros([num_envs]), tf.zeros([num_envs], tf.bool)

    @tf.function(jit_compile=True)
    def fill():
        def add(step, _):
            now = tf.fill([num_envs, 3], tf.cast(step, tf.float32))
            error = tf.random.stateless_uniform([num_envs], [step, 0])
            buffer.add(now, row, row, flag, flag, now + 1.0, td_error=error)
            return step + 1, 0

        return tf.while_loop(lambda s, _: s < capacity // num_envs, add, (0, 0))

    fill()
    if len(buffer) != capacity:
        raise RuntimeError(f"Expected {capacity} transitions. Received: {len(buffer)}")

    table = tf.random.stateless_uniform([128, BATCH], [0, 1])

    def cycle(seed):
        index, batch = buffer.sample(BATCH, seed)
        buffer.update_priorities(index, table[seed[0] % 128])
        total = sum(tf.reduce_sum(leaf) for leaf in tf.nest.flatten(batch))
        return tf.cast(tf.cast(total, tf.int64) % 7, tf.int32)

    return compiled(cycle)


def compiled(cycle):
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def loop(n, seed):
        return tf.while_loop(
            lambda i, _: i < n,
            lambda i, total: (i + 1, total + cycle(tf.stack([i, seed]))),
            (0, 0),
        )[1]

    return lambda n, seed: loop(tf.constant(n), tf.constant(seed)).numpy()


def best_of(rounds, loops, cycles=500):
    """Seconds per cycle of each loop, the best of `rounds`."""
    best = dict.fromkeys(loops, float("inf"))
    for loop in loops.values():
        loop(2, 0)
    for number in range(rounds):
        for name, loop in loops.items():
            started = time.perf_counter()
            loop(cycles, number)
            best[name] = min(best[name], (time.perf_counter() - started) / cycles)
    return best


def run_peer(python, rounds):
    missing = subprocess.run([python, "-c", "import cpprb"], capture_output=True)
    if missing.returncode:
        print(f"{python} has no cpprb: left out", flush=True)
        return
    subprocess.run([python, "-c", PEER, str(rounds)], check=True)


def report(workload, capacity, value):
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    line = {"library": "kerasrl2", "workload": workload, "slots": capacity}
    line |= {"unit": "us/cycle", "value": round(value, 1), "machine": machine}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
