"""What a checkpoint of a run with a large replay buffer costs.

    python -m tests.benchmarks.checkpoints [--capacity 100000] [--directory DIR]

Writes a few checkpoints of a DQN whose buffer holds stacks of four 84 x 84 frames, and
reads the last one back. Prints one JSON line: bytes, the seconds training waits
(`blocked`), by which the next block of ten iterations takes longer, since what it
changes is still being written and is copied first (`copying`), and until a checkpoint
is on disk (`seconds`); and those of reading: verifying digests, then restoring.
Medians; the first checkpoint is not counted.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capacity", type=int, default=100_000)
    parser.add_argument("--directory", default=None)
    arguments = parser.parse_args()
    import kerasrl2 as krl
    from kerasrl2.training.checkpoints import CheckpointStore

    env = krl.envs.make("ALE/SpaceInvaders-v5", num_envs=1)
    agent = krl.agents.DQN.for_env(
        env, hidden=(512,), buffer_size=arguments.capacity, prioritized=True, seed=0
    )
    loop = agent.loop_on(env)
    variables = loop.variables_by_name()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        store, copying = CheckpointStore(directory, keep=2), []
        for step in range(6):
            usual = seconds_of_a_block(loop)
            store.write(step, variables, {})
            copying.append(seconds_of_a_block(loop) - usual)
            store.wait()
        started = time.perf_counter()
        found = store.find()
        verified = time.perf_counter() - started
        store.restore(found, variables)
        restored = time.perf_counter() - started - verified
    reports = store.reports[1:]
    line = {"capacity": arguments.capacity, "bytes": reports[-1]["bytes"]}
    for name in ("blocked", "seconds"):
        line[name] = round(statistics.median(r[name] for r in reports), 3)
    line["copying"] = round(statistics.median(copying[1:]), 3)
    line |= {"verified": round(verified, 2), "restored": round(restored, 2)}
    line["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps(line), flush=True)


def seconds_of_a_block(loop):
    started = time.perf_counter()
    loop.run(10)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
