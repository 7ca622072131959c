"""Loading saved agents."""

import zipfile
from pathlib import Path

import keras

from kerasrl2.agents.agent import Agent

# What Keras raises on a file that is cut, changed, or of unknown classes.
_UNREADABLE = (
    AttributeError,
    ImportError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


def load_agent(filepath, custom_objects=None):
    """Loads an agent that `agent.save` wrote.

    Weights, normaliser statistics, optimizer state and counters are restored. Only
    registered classes are made; the file can run no code.

    Args:
        filepath: Path of a `.keras` file.
        custom_objects: Dictionary of names to classes of your own, if they are not
            registered with Keras.

    Returns:
        The agent.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a saved agent, or cannot be read.
    """
    path = Path(filepath)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a saved agent. There is no file {path}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"Expected an agent that `agent.save` wrote. Received: {path}, "
            f"which is not such an archive."
        )
    try:
        agent = keras.saving.load_model(
            path, custom_objects=custom_objects, safe_mode=True
        )
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(
            f"Expected a readable agent. {path} could not be loaded: {reason}"
        ) from error
    if not isinstance(agent, Agent):
        raise ValueError(
            f"Expected a saved agent. Received: {path}, which holds a "
            f"{type(agent).__name__}. Give a plain model to `PPO.for_env(network=...)`."
        )
    return agent
