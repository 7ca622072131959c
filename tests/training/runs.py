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

from kerasrl2 import _state, agents, envs
from kerasrl2.callbacks import TrainingCheckpoint

EPOCHS = 4
_CELL = {"recurrent": "lstm", "recurrent_units": 4}
VARIANTS = {  # further runs: an algorithm, and keywords over the registered ones
    "a2c recurrent": ("a2c", _CELL),
    "dqn recurrent": ("dqn", {**_CELL, "sequence_length": 4, "prioritized": True}),
    "ppo recurrent": ("ppo", {**_CELL, "sequence_length": 8}),
}


def fitting(algorithm, env_id):
    """Whether an algorithm can act in an environment."""
    return _kind_of(env_id) in _actions_of(algorithm)


@functools.cache
def _kind_of(env_id):
    discrete = hasattr(envs.make(env_id).action_space, "n")
    return "discrete" if discrete else "continuous"


@functools.cache
def _actions_of(algorithm):
    return agents.registration(algorithm).actions


def home_of(algorithm):
    """Id of an environment in which an algorithm can act."""
    name, _ = VARIANTS.get(algorithm, (algorithm, {}))
    return "CartPole-v1" if fitting(name, "CartPole-v1") else "Pendulum-v1"


def make(algorithm, env_id, seed=3, **hyperparameters):
    """A small agent: with the registered `quick` settings, if not told otherwise."""
    algorithm, variant = VARIANTS.get(algorithm, (algorithm, {}))
    found = agents.registration(algorithm)
    settings = {**found.quick, **variant, **hyperparameters}
    return found.agent_class.for_env(env_id, seed=seed, **settings)


def steps_of(algorithm, at_least, iterations):
    """Env steps of a run of at least so many, and of so many iterations."""
    env_id = home_of(algorithm)
    loop = make(algorithm, env_id, xla=False).loop_on(env_id)
    return max(at_least, iterations * loop.steps_per_iteration)


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
    found = _state.state_of(agent=agent, optimizers=agent.optimizers())
    return {name: variable.numpy() for name, variable in found.variables.items()}


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
