"""What workers gain and cost, one JSON line each; ratios are of one run.

    python -m tests.benchmarks.distributed [play] [apex] [collect] [gradients]
        [--seconds 10] [--output FILE]

- `play`: transitions a second that are only played (no updates), Gymnasium's CartPole,
  by a loop in this process, one worker and two; `one` is one worker over the loop,
  `two` two over one.
- `apex`: DQN with priorities, batch 64, an update each vector step: two workers over
  `OffPolicyLoop`; the learner's share of time for queue, broadcast, storing, and each
  worker's share of the blocks.
- `collect`: data of an environment that sleeps 5 ms a step, 1, 2 and 4 workers.
- `gradients`: PPO with the Nature network on frames, batch 256: steps a second of one
  process, and of two workers that average gradients.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import functools
import time
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces

from tests.benchmarks.scores import emit
from tests.distributed.worlds import World

NUM_ENVS = 8


def cartpole():
    return gymnasium.make("CartPole-v1")


class Frames(gymnasium.Env):
    """Random frames, as large as those of Atari."""

    observation_space = spaces.Box(0, 255, [84, 84, 4], np.uint8)
    action_space = spaces.Discrete(4)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.frame = self.np_random.integers(0, 255, [84, 84, 4], np.uint8)
        return self.frame, {}

    def step(self, action):
        return self.frame, 1.0, bool(self.np_random.random() < 0.01), False, {}


def speed(loop, seconds):
    """`(env steps a second, loop.progress_logs())` after half a second to warm up."""
    for _ in range(3):
        loop.run(1)
    until = time.perf_counter() + 0.5
    while time.perf_counter() < until:
        loop.run(1)
    loop.new_report()
    before, started = int(loop.carry.env_steps), time.perf_counter()
    while time.perf_counter() < started + seconds:
        loop.run(8)
    spent = time.perf_counter() - started
    return (int(loop.carry.env_steps) - before) / spent, loop.progress_logs()


def dqn(**settings):
    import kerasrl2 as krl

    known = {"prioritized": True, "n_step": 3, "num_envs": NUM_ENVS, "seed": 0}
    known |= {"learning_starts": 1000, "batch_size": 64}
    return krl.agents.DQN.for_env(cartpole, **{**known, **settings})


def play(seconds):
    from kerasrl2.distributed import Workers

    never = {"learning_starts": 10**9}
    found = {}
    with dqn(**never) as agent:
        found["loop"], _ = speed(agent.loop_on(cartpole), seconds)
    for count in (1, 2):
        with dqn(**never) as agent:
            workers = Workers(count, block=128)
            loop = agent.loop_on(cartpole, workers=workers)
            found[f"{count}_workers"], _ = speed(loop, seconds)
    found["one"] = found["1_workers"] / found["loop"]
    found["two"] = found["2_workers"] / found["1_workers"]
    return found


def apex(seconds):
    from kerasrl2.distributed import Workers

    found = {}
    with dqn() as agent:
        found["loop"], _ = speed(agent.loop_on(cartpole), seconds)
    with dqn() as agent:
        loop = agent.loop_on(cartpole, workers=Workers(2, block=64))
        timed, slots = timed_parts(loop)
        found["two_workers"], logs = speed(loop, seconds)
        found |= logs
        total = loop._spent[0]
        found["messages_and_storing"] = timed["broadcast"] + timed["store"]
        found["messages_and_storing"] /= max(total - loop._spent[1], 1e-9)
        share = np.bincount(slots) / len(slots)
        found["largest_share_of_a_worker"] = float(share.max() * len(share))
    found["ratio"] = found["two_workers"] / found["loop"]
    return found


def timed_parts(loop):
    """Seconds of parts of a `ReplayLearner`'s iterations, and who was served."""
    loop.run(2)
    spent, slots = {"broadcast": 0.0, "store": 0.0}, []

    def timed(name, function):
        def call(*arguments, **keywords):
            started = time.perf_counter()
            result = function(*arguments, **keywords)
            spent[name] += time.perf_counter() - started
            return result

        return call

    loop._fill = timed("broadcast", loop._fill)
    loop._block_program = timed("store", loop._block_program)
    take, renew = loop._take, loop.new_report

    def taken(number):
        slot, block = take(number)
        slots.append(slot)
        return slot, block

    def forget():
        spent.update(dict.fromkeys(spent, 0.0))
        slots.clear()
        renew()

    loop._take, loop.new_report = taken, forget
    return spent, slots


def collecting(seconds):
    import kerasrl2 as krl
    from kerasrl2.distributed import Workers, collecting

    make = functools.partial(World, seconds=0.005)
    agent = krl.agents.A2C.for_env(make, hidden=(8,), seed=0)
    found = {}
    for count in (1, 2, 4):
        workers = Workers(count, cpus=0.25)
        share = max(64, int(seconds * 180) // 64 * 64)
        moments = []
        blocks = collecting._blocks

        def watched(*arguments, blocks=blocks, moments=moments):
            moments.append(time.perf_counter())  # workers are ready
            yield from blocks(*arguments)

        collecting._blocks = watched
        try:
            krl.distributed.collect(agent, make, share * count, workers)
        finally:
            collecting._blocks = blocks
        spent = time.perf_counter() - moments[0]
        found[f"{count}_workers"] = share * count / spent
    for count in (2, 4):
        found[f"ratio_{count}"] = found[f"{count}_workers"] / found["1_workers"]
    return found


def gradients(seconds):
    import kerasrl2 as krl
    from kerasrl2.distributed import Workers

    found = {}
    for count in (1, 2):
        agent = krl.agents.PPO.for_env(
            Frames, num_envs=8 // count, rollout_length=32, batch_size=256,
            num_epochs=4, encoder="nature_cnn", seed=0,
        )  # fmt: skip
        workers = Workers(2, average_gradients=True) if count == 2 else None
        with agent:
            loop = agent.loop_on(Frames, workers=workers)
            loop.run(1)
            started, before = time.perf_counter(), int(agent.optimizer.iterations)
            while time.perf_counter() < started + seconds:
                loop.run(1)
            spent = time.perf_counter() - started
            updates = int(agent.optimizer.iterations) - before
            name = "one_process" if count == 1 else "two_workers"
            found[name] = updates / spent
    found["ratio"] = found["two_workers"] / found["one_process"]
    return found


CASES = {"play": play, "apex": apex, "collect": collecting, "gradients": gradients}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    for case in options.cases:
        found = {k: round(v, 3) for k, v in CASES[case](options.seconds).items()}
        emit({"benchmark": "distributed", "case": case, **found}, options.output)


if __name__ == "__main__":
    main()
