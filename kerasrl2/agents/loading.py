"""Loads saved agents, also from untrusted files."""

import contextlib
import inspect
import json
import tempfile
import warnings
import zipfile
from pathlib import Path

import keras

from kerasrl2.agents._allowed import Allowed
from kerasrl2.agents._archive import CONFIG, WEIGHTS, unpack
from kerasrl2.agents._configuration import check_config
from kerasrl2.agents._weights import check_weights, variables_bounded
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.registry import objects_of


def load_agent(filepath, custom_objects=None):
    """Loads an agent that `agent.save` wrote.

    Weights, normaliser statistics, optimizer state and counters are restored. The file
    is checked before Keras reads it: it cannot run code, name classes other than those
    of kerasrl2, Keras and `custom_objects`, access other files, or use more memory than
    its size justifies. If its agent is an algorithm of an installed package, this class
    and the `custom_objects` that it registered are allowed as well.

    Args:
        filepath: Path of a file that `agent.save` wrote.
        custom_objects: Dictionary of names to your own classes and functions that the
            agent uses, registered with Keras or not.

    Returns:
        The agent.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a saved agent, cannot be read, or is not allowed.
    """
    path = Path(filepath)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a saved agent. There is no file {path}.")
    _check_custom_objects(custom_objects)
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"Expected an agent that `agent.save` wrote. Received: {path}, "
            f"which is not such an archive."
        )
    with tempfile.TemporaryDirectory(prefix="kerasrl2-") as directory:
        weights = Path(directory, WEIGHTS)
        with _explained(path):
            config = unpack(path, weights)
            allowed = Allowed({**objects_of(config), **(custom_objects or {})})
            cls = check_config(config, allowed)
            stored = check_weights(weights)
        if not (inspect.isclass(cls) and issubclass(cls, Agent)):
            raise ValueError(
                f"Expected a saved agent. Received: {path}, which holds a "
                f"{cls.__name__}. Give a plain model to `PPO.for_env(network=...)`."
            )
        Path(directory, CONFIG).write_text(json.dumps(config), encoding="utf-8")
        with _explained(path, stored), warnings.catch_warnings():
            # Keras only warns if it does not restore weights.
            warnings.filterwarnings("error", message="Skipping")
            return keras.saving.load_model(
                directory, custom_objects=allowed.custom_objects, safe_mode=True
            )


@contextlib.contextmanager
def _explained(path, stored=None):
    """Turns any exception within into a `ValueError` with the first reason."""
    messages = []
    try:
        bound = (
            contextlib.nullcontext([]) if stored is None else variables_bounded(stored)
        )
        with bound as messages:
            yield
    except Exception as error:
        reason = messages[0] if messages else " ".join(str(error).split())
        raise ValueError(
            f"Expected a readable agent. {path} could not be loaded: "
            f"{reason[:400] or type(error).__name__}"
        ) from error


def _check_custom_objects(custom_objects):
    fine = custom_objects is None or (
        isinstance(custom_objects, dict) and all(map(callable, custom_objects.values()))
    )
    if not fine:
        raise ValueError(
            "Expected `custom_objects` as a dictionary of names to classes. Received: "
            f"{custom_objects!r:.100}"
        )
