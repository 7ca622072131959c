"""Updates that Blind Cliffwalk takes with uniform and with prioritized replay.

    python -m tests.benchmarks.blind_cliffwalk [--seeds 10] [--output FILE]
    python -m tests.benchmarks.blind_cliffwalk --table docs/results/cliffwalk.jsonl

The example of Schaul et al. (2016), https://arxiv.org/abs/1511.05952, section 3.1 and
appendix B.1. In each of `n` states one of two actions leads on and the other one ends
the episode; the last right one earns 1. All 2**n sequences of actions are in memory,
2**(n + 1) - 2 transitions, of which a single one has a reward. A table of Q-values is
updated with one transition drawn at a time (step size 1/4, gamma 1 - 1/n), until its
mean squared error is below 1e-3. Priorities are `(|delta| + 1e-4)**alpha`, 1 at first,
without importance weights. The buffers are those of the package, inside one compiled
loop; the state goes in as the observation.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from pathlib import Path

STEP_SIZE, EPSILON, GOAL, LIMIT = 0.25, 1e-4, 1e-3, 1_000_000
SIZES = (8, 10, 12)
REPLAYS = {  # name: arguments of `PrioritizedReplayBuffer`
    "uniform": None,
    "proportional, alpha 0.6": {"alpha": 0.6},
    "proportional, alpha 1": {"alpha": 1.0},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--table", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.table:
        print_table(arguments.table)
        return
    for n in SIZES:
        for replay in REPLAYS:
            line = json.dumps(measure(n, replay, arguments.seeds))
            print(line, flush=True)
            if arguments.output:
                with arguments.output.open("a") as file:
                    file.write(line + "\n")


def measure(n, replay, seeds):
    started = time.perf_counter()
    updates = updates_needed(n, replay, range(seeds))
    packages = ("kerasrl2", "tensorflow", "keras", "numpy")
    return {
        "workload": "blind-cliffwalk", "n": n, "transitions": 2 ** (n + 1) - 2,
        "replay": replay, "updates": updates, "median": statistics.median(updates),
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }  # fmt: skip


def updates_needed(n, replay, seeds):
    """Updates until the error is below `GOAL`, for each seed; `LIMIT` if never."""
    import numpy as np
    import tensorflow as tf

    gamma = 1.0 - 1.0 / n
    buffer = filled_buffer(n, gamma, REPLAYS[replay])
    prioritized = REPLAYS[replay] is not None
    truth = np.zeros([n, 2], np.float32)
    truth[np.arange(n), right_actions(n)] = gamma ** np.arange(n - 1.0, -1.0, -1.0)

    def update(count, q, seed):
        index, batch = buffer.sample(1, tf.stack([seed, count]))
        state, then = (
            tf.cast(x[0, 0], tf.int32)
            for x in (batch.observation, batch.next_observation)
        )
        # After the last state there is none: its discount is 0, and so is the padding.
        following = tf.reduce_max(tf.pad(q, [[0, 1], [0, 0]])[then])
        value = q[state, batch.action[0]]
        delta = batch.reward[0] + batch.discount[0] * following - value
        change = tf.one_hot(2 * state + batch.action[0], 2 * n) * delta * STEP_SIZE
        if prioritized:
            buffer.update_priorities(index, delta[None])
        return count + 1, q + tf.reshape(change, [n, 2]), seed

    def unfinished(count, q, seed):
        error = tf.reduce_mean(tf.square(q - truth))
        return (error >= GOAL) & (count < LIMIT)

    @tf.function(jit_compile=True)
    def run(seed):
        return tf.while_loop(unfinished, update, (0, tf.zeros([n, 2]), seed))[0]

    everything = np.arange(buffer.capacity)
    found = []
    for seed in seeds:
        if prioritized:  # 1 at first
            first = np.full(buffer.capacity, 1.0 - EPSILON)
            buffer.update_priorities(everything, first)
        found.append(int(run(tf.constant(seed))))
    return found


def right_actions(n):
    """The action that leads on, in each state: they alternate."""
    import numpy as np

    return np.arange(n) % 2


def filled_buffer(n, gamma, priorities):
    """All transitions of all sequences of actions, each state as often as it occurs."""
    import numpy as np
    import tensorflow as tf

    from kerasrl2.buffers import PrioritizedReplayBuffer, ReplayBuffer

    rows = []
    for state, right in enumerate(right_actions(n)):
        for action in (0, 1):
            on = action == right
            last = on and state == n - 1
            row = (state, action, float(last), not on or last, state + 1)
            rows += [row] * 2 ** (n - state - 1)
    state, action, reward, terminated, then = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    capacity = 2 ** (n + 1) - 2
    if priorities is None:
        buffer = ReplayBuffer(capacity, 1, gamma=gamma)
    else:
        buffer = PrioritizedReplayBuffer(
            capacity, 1, gamma=gamma, epsilon=EPSILON, beta=0.0, **priorities
        )
    buffer.build(tf.TensorSpec([1], tf.float32), tf.TensorSpec([], tf.int32))
    columns = [
        tf.constant(column, dtype)
        for column, dtype in (
            (state[:, None], tf.float32), (action, tf.int32), (reward, tf.float32),
            (terminated, tf.bool), (then[:, None], tf.float32),
        )
    ]  # fmt: skip

    @tf.function(jit_compile=True)
    def fill():
        def add(i):
            now, action, reward, terminated, then = (
                tf.gather(column, [i]) for column in columns
            )
            off = tf.constant([False])
            buffer.add(now, action, reward, terminated, off, then)
            return (i + 1,)

        tf.while_loop(lambda i: i < capacity, add, (tf.constant(0),))

    fill()
    if len(rows) != capacity or len(buffer) != capacity:
        raise RuntimeError(f"Expected {capacity} transitions. Received: {len(buffer)}")
    return buffer


def print_table(path):
    """Medians as a table in Markdown."""
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    median = {(run["n"], run["replay"]): run["median"] for run in runs}
    print("| n | transitions |", " | ".join(REPLAYS), "|")
    print("|" + "---|" * (2 + len(REPLAYS)))
    for n in sorted({run["n"] for run in runs}):
        cells = []
        for replay in REPLAYS:
            gain = median[n, "uniform"] / median[n, replay]
            times = "" if replay == "uniform" else f" (x{gain:.1f})"
            cells.append(f"{median[n, replay]:,.0f}{times}")
        print(f"| {n} | {2 ** (n + 1) - 2:,} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
