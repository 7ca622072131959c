"""What workers get: the agent as the bytes of a file, the environment as a recipe."""

import functools
import importlib.metadata
import json
import platform
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import keras

from kerasrl2 import envs
from kerasrl2.envs._interface import Preferred
from kerasrl2.envs.registry import is_recipe

PACKAGES = "kerasrl2", "tensorflow", "keras", "gymnasium", "numpy"


class Order(NamedTuple):
    """All that a worker is made of.

    Attributes:
        agent: Bytes of the file that `agent.save` wrote.
        load: Callable from a path and `custom_objects` to the agent.
        custom_objects: Dictionary of names to classes and functions.
        make_env: Callable without arguments that returns an `envs.Environment`.
        kind: String, what is handed over: see `player.Player`; or "shares".
        place: `player.Place`.
        steps: Integer, steps of each environment in a block.
        xla: As the agent's.
        layout: The learner's `FlatVariables.layout`.
        threads: Integer, of TensorFlow.
    """

    agent: bytes
    load: Any
    custom_objects: Any
    make_env: Any
    kind: str
    place: Any
    steps: int
    xla: Any
    layout: Any
    threads: int


def agent_bytes(agent):
    """The file that `agent.save` writes, as bytes."""
    with tempfile.TemporaryDirectory(prefix="kerasrl2-") as directory:
        path = Path(directory, "agent.keras")
        agent.save(path)
        return path.read_bytes()


def agent_from(data, load, custom_objects):
    """The agent that `agent_bytes` made into bytes; arguments as in `Order`."""
    with tempfile.TemporaryDirectory(prefix="kerasrl2-") as directory:
        path = Path(directory, "agent.keras")
        path.write_bytes(data)
        return load(path, custom_objects=custom_objects or None)


def objects_used(data, more=None):
    """Dictionary of the classes and functions of others that a saved agent names.

    Those registered with Keras in this process, which another process does not know.

    Args:
        data: Bytes, from `agent_bytes`.
        more: Dictionary of further ones, or None.
    """
    with tempfile.TemporaryDirectory(prefix="kerasrl2-") as directory:
        path = Path(directory, "agent.keras")
        path.write_bytes(data)
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    names = set(_strings(config))
    found = {}
    for name, value in keras.saving.get_custom_objects().items():
        ours = getattr(value, "__module__", "").partition(".")[0] in _KNOWN
        if not ours and names & {name, getattr(value, "__name__", name)}:
            found[value.__name__] = value
    return {**found, **(more or {})}


_KNOWN = "kerasrl2", "keras", "tensorflow"


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def recipe_of(env, num_envs):
    """A callable that makes such an environment in another process.

    Args:
        env: What `fit` was given: an id, a callable, or an `envs.Environment` that was
            made from one of them, or can be sent itself.
        num_envs: Integer or None, copies of an id or a callable.

    Raises:
        ValueError: It is one environment that cannot be made again.
    """
    if is_recipe(env):
        count = None if num_envs is None else Preferred(num_envs)
        return functools.partial(envs.make, env, num_envs=count)
    made_by = getattr(env, "made_by", None)
    if made_by is not None:
        return made_by
    if getattr(env, "in_graph", False):
        return functools.partial(_same, env)
    raise ValueError(
        "Expected an environment that workers can make for themselves: an id, or a "
        "callable that returns a new one each time, such as `lambda: "
        f"gymnasium.make(...)`. Received: one object, {env!r:.200}"
    )


def _same(env):
    return env


def versions():
    """Dictionary of packages to their versions in this process."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {**found, "python": platform.python_version()}
