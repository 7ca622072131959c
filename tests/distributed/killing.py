"""Workers that are killed at random moments, and what must hold afterwards."""

import os
import signal
import time

import kerasrl2 as krl
from kerasrl2.distributed import Workers

ENV = "CartPole-v1"
TWO = Workers(2, cpus=0.4, block=16)


def dqn(env=ENV, **settings):
    known = {"prioritized": True, "n_step": 3, "num_envs": 2, "hidden": (8,)}
    known |= {"learning_starts": 30, "batch_size": 8, "seed": 3, "xla": False}
    return krl.agents.DQN.for_env(env, **{**known, **settings})


def pids(loop):
    """Process ids of the workers."""
    actors = loop.pool._actors
    return loop.pool._ray.get([actor.pid.remote() for actor in actors], timeout=60)


def check_counts(agent):
    steps = int(agent.env_steps)
    assert int(agent.buffer.added()) == steps
    updates = max(0, steps // 2 - -(-30 // 2))
    assert int(agent.optimizer.iterations) == updates


def kill_at_random(loop, rng, times):
    """Kills workers at random moments while a loop runs, one after another.

    Yields for each a dictionary: `slot`; `seen`, seconds until its end was known; and
    `pause`, how long the learner's iteration took in which another was started.
    """
    for _ in range(times):
        until = time.monotonic() + rng.random()
        while time.monotonic() < until or not all(loop.pool._answered):
            loop.run(1)  # until both are there
        slot = int(rng.integers(len(loop.pool.generations)))
        os.kill(pids(loop)[slot], signal.SIGKILL)
        killed, generation = time.monotonic(), sum(loop.pool.generations)
        while sum(loop.pool.generations) == generation:
            started = time.monotonic()
            loop.run(1)
        ended = time.monotonic()
        yield {"slot": slot, "seen": ended - killed, "pause": ended - started}
