"""Data that workers generate side by side, in memory or as files."""

import itertools
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.distributed.flat import FlatVariables, policy_variables
from kerasrl2.distributed.player import Place
from kerasrl2.distributed.sending import Order, agent_bytes, objects_used, recipe_of
from kerasrl2.distributed.workers import workers_of
from kerasrl2.types import Rollout

_BLOCK = 256  # steps of each environment, at most
_KEPT = (
    "observation", "action", "reward", "terminated", "truncated", "valid",
    "next_observation",
)  # fmt: skip


def collect(
    agent, env, steps, workers=2, num_envs=1, greedy=False, seed=0, path=None
):  # fmt: skip
    """Plays an agent in several processes; what it played is the data.

    Each worker has environments and random numbers of its own: streams differ from one
    another, and another call with the same arguments gives the same ones.

    Args:
        agent: `Agent`; does not learn.
        env: Environment id, or a callable that returns a new `gymnasium.Env`.
        steps: Integer, env steps in all; rounded up to equal shares.
        workers: Integer or `Workers`.
        num_envs: Integer, environments of each worker.
        greedy: Boolean, the policy's mode (True), or what it explores with (False).
        seed: Integer >= 0.
        path: None, or a directory that does not exist or is empty, for files of NumPy
            (`.npz`) without pickled objects, one a block: nothing is kept in memory.

    Returns:
        `types.Rollout` of NumPy arrays `[T, W N, ...]`, worker by worker, in the
        policy's own coordinates; or a list of the paths written, by worker and time.

    Raises:
        EnvironmentFailure: The environment of a worker raised.
        ValueError: An argument is out of range, or cannot be sent.
    """
    check_positive_integer("steps", steps)
    check_positive_integer("num_envs", num_envs)
    check_range("seed", seed, 0)
    workers, recipe = workers_of(workers), recipe_of(env, num_envs)
    agent.environment(env, num_envs).close()  # says what does not fit, here
    share = -(-steps // (workers.count * num_envs))
    length = min(workers.block or _BLOCK, share)
    length = -(-share // -(-share // length))  # equal blocks
    count = -(-share // length)
    directory = None if path is None else _empty_directory(path)
    pool = _pool(agent, recipe, workers, length, greedy, seed)
    try:
        pool.wait_until_ready()
        flat = tf.function(FlatVariables(policy_variables(agent)).read)
        blocks = _blocks(pool, workers.count, count, pool.put(flat().numpy()))
        if directory is not None:
            return sorted(_write(directory, *block) for block in blocks)
        return _joined([block for _, _, block in sorted(blocks, key=_place)], count)
    finally:
        pool.close()


def _place(block):
    return block[:2]


def _pool(agent, recipe, workers, length, greedy, seed):
    from kerasrl2.distributed import pool

    data, flat = agent_bytes(agent), FlatVariables(policy_variables(agent))
    order = Order(
        data, agent.loader(), objects_used(data, workers.custom_objects), recipe,
        "greedy" if greedy else "steps", None, length, agent.xla, flat.layout,
        max(1, int(workers.cpus)),
    )  # fmt: skip

    def order_of(slot, generation):
        # Not one of them draws what training with this seed draws.
        return order._replace(place=Place(slot + 1, workers.count, generation, seed))

    return pool.Pool(workers, order_of, lambda slot, generation: None)


def _blocks(pool, workers, count, weights):
    """Yields `(slot, number, fields)` of each block, in any order."""
    numbers, left, which = itertools.count(1), [count] * workers, {}

    def ask(slot):
        number = next(numbers)
        which[number] = count - left[slot]
        left[slot] -= 1
        pool.submit(slot, number, "play", weights, 2**62)  # no schedule is left

    for _ in range(2):
        for slot in range(workers):
            if left[slot]:
                ask(slot)
    while which:
        reply = pool.take()
        if left[reply.slot]:
            ask(reply.slot)
        fields = {name: reply.value.fields[name] for name in _KEPT}
        yield reply.slot, which.pop(reply.number), fields


def _joined(blocks, count):
    """A `Rollout` of blocks, `count` of each worker, in order."""
    by_worker = [blocks[i : i + count] for i in range(0, len(blocks), count)]

    def field(name):
        parts = [[block[name] for block in own] for own in by_worker]
        columns = [
            tf.nest.map_structure(lambda *x: np.concatenate(x, 0), *own)
            for own in parts
        ]
        return tf.nest.map_structure(lambda *x: np.concatenate(x, 1), *columns)

    return Rollout(**{name: field(name) for name in _KEPT})


def _empty_directory(path):
    directory = Path(path)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(
            f"Expected `path` of a directory that is empty or not there. Received: "
            f"{directory}"
        )
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _write(directory, slot, number, fields):
    path = directory / f"worker-{slot:04d}-block-{number:06d}.npz"
    arrays = {}
    for name, value in fields.items():
        leaves = tf.nest.flatten(value)
        alone = len(leaves) == 1
        for i, leaf in enumerate(leaves):
            arrays[name if alone else f"{name}.{i}"] = leaf
    np.savez(path, allow_pickle=False, **arrays)
    return path
