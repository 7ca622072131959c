"""Making hostile files out of an honest one, and checking that they are refused."""

import io
import json
import tempfile
import warnings
import zipfile

import h5py
import pytest

import kerasrl2 as krl
from kerasrl2.agents import A2C

SETTINGS = {"hidden": (4,), "num_envs": 2, "seed": 0, "xla": False}
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """`{member: bytes}` of a saved A2C."""
    path = tmp_path_factory.mktemp("honest") / "agent.keras"
    A2C.for_env("Chain-5", normalize_observations=True, **SETTINGS).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Checks that a file is refused, in one short message, and leaves no trace."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)

    def check(path, match, custom_objects=None):
        before = sorted(tmp_path.rglob("*"))
        capfd.readouterr()
        with pytest.raises(ValueError, match=match) as error:
            krl.load_agent(path, custom_objects)
        message = str(error.value)
        assert message.startswith("Expected")
        assert path.name in message
        assert len(message) < 800
        assert "\n" not in message
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        assert not marker(tmp_path).exists()
        assert capfd.readouterr() == ("", "")

    return check


def marker(directory):
    return directory / "executed"


def pack(path, members, **infos):
    """Writes a zip of `(name or ZipInfo, bytes)` pairs or of a dictionary."""
    pairs = members.items() if isinstance(members, dict) else members
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", **infos) as archive:
        warnings.simplefilter("ignore")
        for name, content in pairs:
            archive.writestr(name, content)
    return path


def with_config(path, honest, change):
    """The honest file with its configuration changed in place."""
    config = json.loads(honest[CONFIG])
    config = change(config) or config
    text = config if isinstance(config, str) else json.dumps(config)
    return pack(path, {**honest, CONFIG: text})


def layers(config):
    """The layers of an agent's network."""
    return config["config"]["network"]["config"]["layers"]


def find(config, class_name):
    """All dictionaries of a class in a configuration."""
    if isinstance(config, dict):
        if config.get("class_name") == class_name:
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            yield from find(item, class_name)


def with_weights(path, honest, change):
    """The honest file with its weights changed through h5py."""
    file = io.BytesIO(honest[WEIGHTS])
    with h5py.File(file, "r+") as weights:
        change(weights)
    return pack(path, {**honest, WEIGHTS: file.getvalue()})
