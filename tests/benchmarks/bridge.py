"""What the bridge to Gymnasium adds to a vector step of 8 CartPoles, as JSON lines.

    python -m tests.benchmarks.bridge [--rounds 300] [--copies 8]

`alone` is the environment itself, stepped by a loop of Python; `graph` and `xla` are
the same in a compiled loop of `envs.make(...)`, that is with all checks, copies and the
border between Python and TensorFlow; `added` are the differences. Each is the best of
several short rounds, taken in turns, so that a busy moment of the machine spoils none
of them. The actions are the same, so episodes are equally long.
"""

import argparse
import functools
import json
import time

STEPS = 50  # of a round: short, so that some are not interrupted


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--copies", type=int, default=8)
    arguments = parser.parse_args()
    import kerasrl2  # noqa: F401
    from kerasrl2.cli.machine import set_threads

    set_threads(1)
    for name, make in kinds(arguments.copies).items():
        runs = {
            "alone": alone(make()),
            "graph": bridged(make(), jit_compile=False),
            "xla": bridged(make(), jit_compile=True),
        }
        best = dict.fromkeys(runs, float("inf"))
        for _ in range(arguments.rounds):
            for way, run in runs.items():
                start = time.perf_counter()
                run()
                seconds = (time.perf_counter() - start) / STEPS
                best[way] = min(best[way], 1e6 * seconds)
        added = {way: round(best[way] - best["alone"], 1) for way in ("graph", "xla")}
        line = {way: round(value, 1) for way, value in best.items()}
        line = {"kind": name, "unit": "us/step", **line, "added": added}
        print(json.dumps(line), flush=True)


def kinds(n):
    """Names of ways to make `n` CartPoles, to callables."""
    import gymnasium
    from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    single = functools.partial(gymnasium.make, "CartPole-v1", disable_env_checker=True)
    made = {"lockstep": lambda: [single() for _ in range(n)]}
    for mode in AutoresetMode:
        made[f"sync, {mode.name}"] = functools.partial(
            SyncVectorEnv, [single] * n, autoreset_mode=mode
        )
    made["vectorised"] = lambda: CartPoleVectorEnv(n)
    try:
        import envpool
    except ImportError:
        return made
    made["envpool"] = lambda: envpool.make(
        "CartPole-v1", "gymnasium", num_envs=n, num_threads=1
    )
    return made


def alone(made):
    """A callable that takes `STEPS` steps in what one of `kinds` has made."""
    import numpy as np

    if isinstance(made, list):
        return functools.partial(_each, made)
    from gymnasium.vector import AutoresetMode

    disabled = made.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    made.reset()
    actions = [np.full(made.num_envs, action, np.int64) for action in (0, 1)]

    def run():
        for number in range(STEPS):
            _, _, terminated, truncated, _ = made.step(actions[number % 2])
            if disabled and (over := terminated | truncated).any():
                made.reset(options={"reset_mask": over})

    return run


def _each(envs):
    for env in envs:
        env.reset()
    for number in range(STEPS):
        for env in envs:
            _, _, terminated, truncated, _ = env.step(number % 2)
            if terminated or truncated:
                env.reset()


def bridged(made, jit_compile):
    """As `alone`, in a compiled loop that uses all that a step returns."""
    import tensorflow as tf

    from kerasrl2 import envs

    copies = iter(made) if isinstance(made, list) else None
    if copies is None:
        env = envs.make(made)
    else:
        env = envs.make(lambda: next(copies), num_envs=len(made))
    seed = tf.constant([0, 1])

    def used(after):
        floats = [tf.cast(x, tf.float32) for x in tf.nest.flatten(after)]
        return tf.add_n([tf.reduce_sum(x) for x in floats])

    @functools.partial(tf.function, jit_compile=jit_compile, autograph=False)
    def loop(state):
        def body(number, state, total):
            action = tf.fill([env.num_envs], number % 2)
            state, after = env.step(state, action, seed)
            return number + 1, state, total + used(after)

        zero = tf.zeros([], tf.int32)
        return tf.while_loop(
            lambda number, *_: number < STEPS,
            body,
            (zero, state, tf.zeros([])),
            parallel_iterations=1,
        )[1:]

    state = [env.reset(seed)[0]]

    def run():
        with env.errors():
            state[0] = loop(state[0])[0]
            int(state[0])

    run()
    return run


if __name__ == "__main__":
    main()
