"""Runs that are killed and resumed.

    python -m tests.training.runs ALGORITHM ENV DIRECTORY STEPS [--every N]

trains with checkpoints in DIRECTORY, goes on from what is there, and at the end writes
`result.json` there: digests of all weights and buffer rows, and the history.
"""

import kerasrl2._startup  # noqa: F401

import argparse
import functools
import hashlib
import json
from pathlib import Path

import tensorflow as tf

from kerasrl2 import agents, envs
from kerasrl2.callbacks import TrainingCheckpoint

EPOCHS = 4
REPLAY = {"hidden": (8,), "learning_starts": 64, "batch_size": 16, "buffer_size": 512}
SMALL = {
    "ppo": {"hidden": (8,), "num_envs": 4, "rollout_length": 16, "batch_size": 32},
    "a2c": {"hidden": (8,), "num_envs": 2},
    "dqn": REPLAY,
    "rainbow": REPLAY,
}
CONTINUOUS = {"Pendulum-v1", "MountainCarContinuous-v0"}
VALUE_BASED = {"dqn", "rainbow"}


def fitting(algorithm, env_id):
    """Whether an algorithm can act in an environment."""
    return not (algorithm in VALUE_BASED and env_id in CONTINUOUS)


def make(algorithm, env_id, seed=3, **hyperparameters):
    hyperparameters = {**SMALL[algorithm], **hyperparameters}
    return agents.ALGORITHMS[algorithm].for_env(env_id, seed=seed, **hyperparameters)


def train(agent, env_id, steps, directory=None, every=None, backend="auto", **options):
    """Fits with checkpoints, resuming; returns the history without the clock's part."""
    given = list(options.pop("callbacks", []))
    if directory is not None:
        given.append(TrainingCheckpoint(directory, every))
        options["resume"] = True
    env = envs.make(env_id, num_envs=agent.num_envs, backend=backend)
    options = {"epochs": EPOCHS, "verbose": 0, **options}
    history = agent.fit(env, steps=steps, callbacks=given, **options).history
    return {name: v for name, v in history.items() if name != "steps_per_second"}


def state_of(agent):
    """Dictionary of names to NumPy arrays: all a run has learned and stored."""
    variables = {f"{i} {v.path}": v.value for i, v in enumerate(agent.variables)}
    slots = agent.optimizer.variables
    variables |= {f"optimizer {i} {v.path}": v.value for i, v in enumerate(slots)}
    buffer = getattr(agent, "buffer", None)
    if buffer is not None:
        variables |= {f"buffer {i}": v for i, v in enumerate(buffer.variables)}
    return {name: tf.convert_to_tensor(v).numpy() for name, v in variables.items()}


@functools.cache
def uninterrupted(algorithm, env_id, steps, **hyperparameters):
    """`(state_of, history)` of a run that nothing stops; each is made once."""
    agent = make(algorithm, env_id, **hyperparameters)
    history = train(agent, env_id, steps)
    return state_of(agent), history


def digest(agent):
    """Hexadecimal digest of `state_of`."""
    sha = hashlib.sha256()
    for array in state_of(agent).values():
        sha.update(f"{array.dtype} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("algorithm")
    parser.add_argument("env")
    parser.add_argument("directory", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--every", type=int, default=None)
    parser.add_argument("--gymnasium", action="store_true")
    arguments = parser.parse_args()
    agent = make(arguments.algorithm, arguments.env)
    backend = "gymnasium" if arguments.gymnasium else "auto"
    print("ready", flush=True)
    history = train(
        agent,
        arguments.env,
        arguments.steps,
        arguments.directory / "checkpoints",
        arguments.every,
        backend,
    )
    result = {"digest": digest(agent), "history": history}
    (arguments.directory / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
