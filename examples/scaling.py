"""What bounds 8, 64 and 1,000 workers: a simulation of the learner's queue.

    python examples/scaling.py [--steps N]

Workers play blocks, which go over one line to one learner and wait in its queue; the
learner takes them up one after another and asks for the next ones. The constants are
those that this package was measured to have on two shared cores; those of pixels and
GPUs are assumptions. Weights are as old as the requests that they were sent with.
"""

import argparse
import heapq
from typing import NamedTuple

LINE = 10e9 / 8  # bytes a second of a network of 10 Gb/s
BLOCK = 0.79e-3  # seconds that a block costs the learner's process: 1,270 a second


class System(NamedTuple):
    """What a learner and its workers need.

    Attributes:
        steps: Steps a second that a worker plays.
        block: Steps of a block.
        transition: Bytes of a transition.
        weights: Bytes of the weights.
        learning: Seconds of learning for a block.
        broadcasts: Times a second that weights are sent.
    """

    steps: float
    block: int
    transition: float
    weights: float
    learning: float
    broadcasts: float


SYSTEMS = {
    # an update of 80 us, with 64 transitions, for each 512 that are stored
    "Ape-X, dense": System(1456, 64, 44, 280e3, 64 / 512 * 80e-6, 10),
    "IMPALA, dense": System(1456, 640, 44, 280e3, 1.6e-3, 10),
    "Ape-X, pixels (assumed)": System(800, 64, 7056, 6.75e6, 64 / 8 * 2e-3, 2),
    "IMPALA, pixels (assumed)": System(1000, 640, 7056, 6.75e6, 10e-3 + 5e-3, 2),
}


def simulate(system, workers, in_flight, blocks):
    """Plays `blocks` blocks; returns steps a second, what bounds them, and seconds.

    Each worker plays its requests one after another; `in_flight` of them are under way
    in all, at most.
    """
    playing = system.block / system.steps
    sending = system.block * system.transition / LINE
    learning = system.learning + BLOCK
    free = [0.0] * workers  # when each worker has played what it was asked for
    arrivals, ages = [], []
    line = learner = busy = 0.0
    for request in range(min(in_flight, max(workers, in_flight))):
        worker = request % workers
        free[worker] += playing
        heapq.heappush(arrivals, (free[worker], worker, 0.0))
    for _ in range(blocks):
        played, worker, asked = heapq.heappop(arrivals)
        line = max(line, played) + sending
        begun = max(learner, line)
        learner, busy = begun + learning, busy + learning
        ages.append(learner - asked)
        free[worker] = max(free[worker], learner) + playing
        heapq.heappush(arrivals, (free[worker], worker, learner))
    rate = blocks * system.block / learner
    out = system.weights * system.broadcasts * min(workers, in_flight) / LINE
    shares = {"learner": busy / learner, "line": blocks * sending / learner}
    shares["workers"] = rate / (workers * system.steps)
    bound = max(shares, key=shares.get)
    return rate, bound, sum(ages[-blocks // 4 :]) / len(ages[-blocks // 4 :]), out


def main(blocks):
    """Prints a table."""
    print("steps/s, bound by, age of weights in s, share of the line for weights")
    for name, system in SYSTEMS.items():
        for workers in (8, 64, 1000):
            for each in (2, 4):
                rate, bound, age, out = simulate(
                    system, workers, each * workers, max(blocks, 20 * workers)
                )
                print(
                    f"{name:26s} {workers:5d} workers, {each} requests each: "
                    f"{rate:9,.0f}  {bound:8s} {age:6.2f}  {out:5.0%}"
                )
        capped, *_, age, _ = simulate(system, 1000, 128, max(blocks, 20_000))
        print(f"{name:26s}  1000 workers, 128 in all:      {capped:9,.0f} {age:15.2f}")
    print("workers for averaged gradients of 6.75 MB: sqrt(gradient time / 12.5 ms)")
    for seconds in (0.05, 0.2, 1.0):
        print(
            f"  {seconds:4.2f} s a gradient: {max(1.0, (seconds / 0.0125) ** 0.5):.1f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20_000, help="Blocks to simulate.")
    main(parser.parse_args().steps)
