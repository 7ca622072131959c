"""`config.yaml` of a run: written whole, and believed only as far as it is known."""

import os
import re
import reprlib
from pathlib import Path

import yaml

from kerasrl2 import __version__
from kerasrl2._checks import check_choice
from kerasrl2.cli.kinds import NULL, NUMBER, TRUTH, WORD, Kind, exactly

NAME = "config.yaml"
BACKENDS = "auto", "tensorflow", "gymnasium"
VECTORIZATIONS = "sync", "async", "vector_entry_point"  # as in `envs`, unimported

# What a run has that was made without the option.
DEFAULTS = {
    "backend": "auto", "steps": None, "seed": None, "reports": 10, "eval_episodes": 20,
    "stop_at": None, "threads": None, "checkpoint_every": None, "buffer": True,
    "env_keywords": {}, "wrappers": [], "vectorization": None, "workers": None,
    "address": None,
}  # fmt: skip

_COUNT = Kind(lambda value: type(value) is int and value >= 1, "an integer >= 1")
_SEED = Kind(lambda value: type(value) is int and value >= 0, "an integer >= 0")
_SETTINGS = Kind(
    lambda value: isinstance(value, dict) and all(isinstance(k, str) for k in value),
    "a dictionary of names to values",
)
_WORDS = Kind(
    lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
    "a list of words",
)
_KINDS = {
    "algorithm": [WORD],
    "env": [WORD],
    "env_keywords": [_SETTINGS],
    "wrappers": [_WORDS],
    "vectorization": [*(exactly(word) for word in VECTORIZATIONS), NULL],
    "backend": [exactly(word) for word in BACKENDS],
    "steps": [_COUNT, NULL],
    "seed": [_SEED, NULL],
    "overrides": [_SETTINGS],
    "reports": [_COUNT],
    "eval_episodes": [_COUNT],
    "stop_at": [NUMBER, NULL],
    "threads": [_COUNT, NULL],
    "checkpoint_every": [_COUNT, NULL],
    "buffer": [TRUTH],
    "workers": [_COUNT, NULL],
    "address": [WORD, NULL],
    "settings": [_SETTINGS],
    "version": [WORD, NUMBER],
}
_NEEDED = "algorithm", "env"


def in_its_words(options):
    """Options of a command in the words of `config.yaml`; raises on wrong ones.

    Args:
        options: Dictionary with `backend`, `vectorization` and any others.
    """
    check_choice("backend", options["backend"], BACKENDS)
    how = options["vectorization"]
    how = "vector_entry_point" if how == "entry-point" else how  # Gymnasium's word
    if how is not None:
        check_choice("--vectorization", how, VECTORIZATIONS)
    return {**options, "vectorization": how}


def write_config(directory, **config):
    """Writes `config.yaml`, in the order given; a killed process leaves the old one."""
    text = yaml.safe_dump(config, sort_keys=False)
    replace_text(Path(directory) / NAME, text)


def read_config(directory):
    """Reads `config.yaml` of a run.

    Returns:
        Dictionary with `algorithm`, `env`, and of the other keys those that are there.

    Raises:
        FileNotFoundError: The directory holds no run.
        ValueError: The file cannot be read, a newer version wrote it, or it holds what
            no run has.
    """
    path = Path(directory) / NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a run directory that `kerasrl2 train` made. There is no {path}."
        )
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"Expected readable YAML in {path}: {error}") from error
    if not isinstance(config, dict) or not set(_NEEDED) <= set(config):
        raise ValueError(
            f"Expected the settings of a run in {path}, {' and '.join(_NEEDED)} at "
            f"least. Received: {reprlib.repr(config)}"
        )
    _check_version(path, config.get("version", __version__))
    unknown = [str(name) for name in config if name not in _KINDS]
    if unknown:
        raise ValueError(
            f"Expected in {path} no other keys than: {', '.join(_KINDS)}. Received: "
            f"{', '.join(unknown)[:200]}. It was written by a newer kerasrl2 (this is "
            f"{__version__}: upgrade) or by hand (remove what is not known)."
        )
    for name, value in config.items():
        if not any(kind.takes(value) for kind in _KINDS[name]):
            words = " or ".join(kind.word for kind in _KINDS[name])
            raise ValueError(
                f"Expected `{name}` in {path} as {words}. Received: "
                f"{reprlib.repr(value)}"
            )
    return config


def replace_text(path, text):
    """Gives a file other contents; a killed process leaves the old or the new ones."""
    aside = path.with_name(f".writing-{path.name}")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def _check_version(path, version):
    numbers = _numbers(version)
    if numbers is None:
        raise ValueError(
            f"Expected `version` in {path} as one of kerasrl2, such as {__version__}. "
            f"Received: {reprlib.repr(version)}"
        )
    if numbers > _numbers(__version__):
        raise ValueError(
            f"Expected a run of kerasrl2 {__version__} or earlier. Received: {path}, "
            f"written by a newer kerasrl2, {version}. Upgrade kerasrl2; the run is as "
            "it was."
        )


def _numbers(version):
    match = re.match(r"\d+(\.\d+)*", str(version))
    return match and [int(number) for number in match[0].split(".")]
