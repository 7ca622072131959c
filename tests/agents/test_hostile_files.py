"""Files that name code, or are packed to harm: refused before anything is made.

Nothing is executed and nothing written; the honest files of all kinds still load.
"""

import functools
import json
import pickle
import stat
import struct
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import A2C, DQN, PPO, algorithms
from tests.agents.harness import optimizer_variables
from tests.agents.hostile import (
    CONFIG,
    METADATA,
    SETTINGS,
    WEIGHTS,
    find,
    honest,
    layers,
    marker,
    pack,
    refused,
    with_config,
)  # fmt: skip
from tests.agents.test_networks import Subclassed
from tests.training.runs import home_of, make

__all__ = ["honest", "refused"]  # fixtures
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning"),
]

# Code


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("place", ["whole", WEIGHTS, CONFIG, "more.pkl"])
def test_pickles(place, honest, tmp_path, refused):
    content = pickle.dumps(Touch(marker(tmp_path)))
    path = tmp_path / "agent.keras"
    if place == "whole":
        path.write_bytes(content)
    else:
        pack(path, {**honest, place: content})
    refused(path, "not such an archive|expected (JSON|an HDF5|the members)")
    pickle.loads(content).close()
    assert marker(tmp_path).exists(), "the pickle would have done nothing"


def test_lambda_with_bytecode(honest, tmp_path, refused):
    written = str(marker(tmp_path))
    layer = keras.layers.Lambda(lambda x: Path(written).write_text("") or x)
    entry = keras.saving.serialize_keras_object(layer)

    def change(config):
        dense = next(find(config, "Dense"))
        kept = {key: dense[key] for key in ("inbound_nodes", "name")}
        entry["config"]["name"] = dense["name"]
        dense.clear()
        dense.update(entry, **kept)

    path = with_config(tmp_path / "agent.keras", honest, change)
    refused(path, "'Lambda' of 'keras.layers'")
    refused(path, "'__lambda__'|[Ll]ambda", {"Lambda": keras.layers.Lambda})


def function(module, name):
    return {
        "module": module, "class_name": "function", "config": name,
        "registered_name": name,
    }  # fmt: skip


def entry(module, name, config=None, registered=None):
    return {
        "module": module, "class_name": name, "config": config or {},
        "registered_name": registered,
    }  # fmt: skip


@keras.saving.register_keras_serializable(package="stranger")
def registered_function(x):
    """Somebody's, registered by an import the caller may not know of."""
    return x


STRANGERS = [
    entry("os", "system", {"command": "touch executed"}),
    entry("builtins", "eval", {"source": "open('executed', 'w')"}),
    entry("builtins", "exec", {"source": "open('executed', 'w')"}, "exec"),
    entry("subprocess", "Popen", {"args": ["touch", "executed"]}, "Popen"),
    entry("keras.src.saving.serialization_lib", "enable_unsafe_deserialization"),
    entry("keras.config", "enable_unsafe_deserialization"),
    entry("keras.utils", "get_file", {"fname": "executed", "origin": "file:///etc"}),
    entry("keras.saving", "load_model", {"filepath": "executed"}),
    entry("keras.layers", "TFSMLayer", {"filepath": "executed"}),
    entry("keras.layers", "TorchModuleWrapper", {"module": "executed"}),
    entry("keras.layers", "JaxLayer", {"call_fn": "executed"}),
    entry("keras.layers", "FlaxLayer", {"module": "executed"}),
    entry("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
    entry("keras.layers", "TextVectorization", {"vocabulary": "/etc/passwd"}),
    entry("keras.layers", "Layer"),
    entry("keras.layers", "__class__"),
    entry("keras.src.layers.core.lambda_layer", "Lambda", {"function": "executed"}),
    entry("keras.src.ops.core", "Map", {"f": "executed"}),
    entry("keras.src.ops.core", "Unstack"),
    entry("keras.src.legacy.saving.legacy_h5_format", "load_model_from_hdf5"),
    entry("keras.layers", "Lambda", {}, "kerasrl2>PPO"),
    entry("tests.agents.test_networks", "Subclassed", {}, "tests>Subclassed"),
    entry("tests.agents.test_networks", "Subclassed"),
    entry(None, "Subclassed", {}, "tests>Subclassed"),
    function("os", "system"),
    function("builtins", "eval"),
    function("keras.utils", "get_file"),
    function("keras.config", "enable_unsafe_deserialization"),
    function("keras.activations", "deserialize"),
    function("tests.agents.test_hostile_files", "registered_function"),
    function("builtins", "stranger>registered_function"),
    "stranger>registered_function",
    {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}},
    {**entry("tensorflow", "__typespec__", {}), "spec_name": "TensorSpec"},
    {"class_name": "__bytes__", "config": {"value": "x"}},
    {"class_name": "__numpy__", "config": {"value": [0], "dtype": "V1000000000"}},
    {"class_name": "__numpy__", "config": [0]},
    {"class_name": "Dense", "config": {"units": 3}},  # the older format
    {"class_name": "PPO", "config": {}, "registered_name": "kerasrl2>PPO"},
    {"class_name": ["Dense"], "module": "keras.layers", "config": {}},
    {"class_name": {}, "module": [], "config": {}, "registered_name": 7},
]


@pytest.mark.parametrize("place", ["part", "activation", "layer", "nowhere"])
@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda x: json.dumps(x)[:70])
def test_names_that_are_not_allowed(place, stranger, honest, tmp_path, refused):
    def change(config):
        if place == "part":
            config["config"]["head"] = stranger
        elif place == "activation":
            next(find(config, "Dense"))["config"]["activation"] = stranger
        elif place == "layer":
            layers(config)[-1]["config"]["bias_constraint"] = {"x": [stranger]}
        else:
            config["something Keras never reads"] = stranger

    path = with_config(tmp_path / "agent.keras", honest, change)
    refused(path, "Received: the (class|function|object) |as strings|array of numbers")
    assert keras.src.saving.serialization_lib.in_safe_mode() is not False


def test_outermost_objects_that_are_no_agents(honest, tmp_path, refused):
    path = tmp_path / "agent.keras"
    for outer in (
        entry("os", "system", {"command": "touch executed"}),
        entry("keras.config", "enable_unsafe_deserialization"),
        function("keras.activations", "relu"),
        {"class_name": "__numpy__", "config": {"value": [0], "dtype": "int32"}},
        entry("keras.layers", "Dense", {"units": 3}),
        {"config": {}},
    ):
        with_config(path, honest, lambda config, outer=outer: outer)
        refused(
            path, "Received: the (class|function) |which holds a Dense|a class name"
        )


def test_own_classes_and_functions_must_be_passed(tmp_path, refused):
    path = tmp_path / "agent.keras"
    network = Subclassed()
    network(np.zeros([1, 4], np.float32))
    agent = A2C.for_env("CartPole-v1", network=network, **SETTINGS)
    agent.save(path)
    refused(path, "'Subclassed' .'tests>Subclassed'. of .*custom_objects={'Subclassed'")
    refused(path, "'Subclassed'", {"Subclassed": keras.layers.Dense})
    observation = np.ones([3, 4], np.float32)
    for name in ("Subclassed", "tests>Subclassed"):
        loaded = krl.load_agent(path, {name: Subclassed})
        np.testing.assert_array_equal(loaded.act(observation), agent.act(observation))
    with pytest.raises(ValueError, match=r"`custom_objects` as a dictionary"):
        krl.load_agent(path, [Subclassed])


@pytest.mark.parametrize(
    "more",
    [0, {"class_name": "__keras_tensor__"}, entry("keras.activations", "relu")],
    ids=["number", "no tensor", "object"],
)
def test_calls_of_constants(more, honest, tmp_path, refused):
    """Keras would carry them out while it loads."""

    def change(config):
        name = "arange"
        call = {"args": [0, 10**9], "kwargs": {"step": more}}
        layer = entry("keras.src.ops.numpy", "Arange", {"name": name})
        layers(config).append({**layer, "name": name, "inbound_nodes": [call]})

    refused(with_config(tmp_path / "agent.keras", honest, change), "call of constants")


# The zip


def names(honest, *more):
    return [*honest.items(), *more]


def link(honest):
    info = zipfile.ZipInfo(WEIGHTS)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return [
        (CONFIG, honest[CONFIG]),
        (METADATA, honest[METADATA]),
        (info, "/etc/passwd"),
    ]


@pytest.mark.parametrize(
    "members",
    [
        lambda honest: names(honest, ("../executed", b"x")),
        lambda honest: names(honest, ("/tmp/executed", b"x")),
        lambda honest: names(honest, ("C:\\executed", b"x")),
        lambda honest: names(honest, ("assets/../../executed", b"x")),
        lambda honest: names(honest, ("assets/vocabulary.txt", b"x")),
        lambda honest: names(honest, (CONFIG, honest[CONFIG])),
        lambda honest: [("./" + name, honest[name]) for name in honest],
        lambda honest: [(name, honest[name]) for name in (CONFIG, WEIGHTS)],
        lambda honest: [],
        link,
    ],
    ids=["up", "absolute", "drive", "assets up", "assets", "twice", "dot", "missing",
         "empty", "link"],
)  # fmt: skip
def test_members(members, honest, tmp_path, refused):
    path = pack(tmp_path / "agent.keras", members(honest))
    refused(path, "expected the members|a link")


def test_names_with_a_nul(honest, tmp_path, refused):
    """Python drops what follows; others may not."""
    path = pack(
        tmp_path / "agent.keras", {name + "?x": honest[name] for name in honest}
    )
    content = path.read_bytes()
    for name in honest:
        content = content.replace(f"{name}?x".encode(), f"{name}\0x".encode())
    path.write_bytes(content)
    refused(path, "expected the members")


def test_encrypted_or_compressed_members(honest, tmp_path, refused):
    path = pack(tmp_path / "agent.keras", honest, compression=zipfile.ZIP_DEFLATED)
    refused(path, "bytes compressed from")
    content = bytearray(pack(path, honest).read_bytes())
    for start in (content.find(b"PK\x01\x02") + 8, content.find(b"PK\x03\x04") + 6):
        content[start] |= 1
    path.write_bytes(content)
    refused(path, "a link, another special file or encrypted")


def test_a_long_configuration(honest, tmp_path, refused):
    path = pack(tmp_path / "agent.keras", {**honest, CONFIG: b" " * (2**24 + 1)})
    refused(path, "16,777,217 bytes, more than 16,777,216")


def overlapping(path, honest):
    """Three members in one place; the central directory says so."""
    content = pack(path, honest).read_bytes()
    start = content.find(b"PK\x01\x02")
    tail = bytearray(content[start:])
    weights = tail.rfind(b"PK\x01\x02")
    size = 3 * start
    tail[weights + 20 : weights + 28] = struct.pack("<II", size, size)
    path.write_bytes(content[:start] + tail)
    return path


def test_overlapping_members(honest, tmp_path, refused):
    refused(overlapping(tmp_path / "agent.keras", honest), "expected members that fit")


# JSON


def nested(depth, opening="[", closing="]"):
    return opening * depth + "1" + closing * depth


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (nested(10**6), "expected JSON"),
        (nested(10**5, '{"a":', "}"), "expected JSON"),
        ("HONEST, " + '"more": ' + nested(400) + "}", "levels deep"),
        ("HONEST, " + '"more": NaN}', "expected JSON.*NaN"),
        ('{"class_name": "x", "config": 1' + "0" * 5000 + "}", "expected JSON"),
        ("[1]", "a dictionary in config.json"),
        ("{", "expected JSON"),
        ("\xff", "expected JSON"),
        ("", "expected JSON"),
    ],
    ids=range(9),
)
def test_json(text, match, honest, tmp_path, refused):
    path = tmp_path / "agent.keras"
    content = text.encode("latin1").replace(b"HONEST", honest[CONFIG][:-1])
    pack(path, {**honest, CONFIG: content})
    refused(path, match)


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**30, 10**400])
def test_numbers_no_machine_holds(number, honest, tmp_path, refused):
    def change(config):
        config["config"]["rollout_length"] = number

    path = with_config(tmp_path / "agent.keras", honest, change)
    if number == -(2**63):
        number -= 1
        path = with_config(path, honest, change)
    refused(path, r"`rollout_length` of at most .* digits")


# The honest


def doubled(x):
    """An activation of one's own."""
    return keras.ops.tanh(2 * x)


def own_network():
    image = keras.Input([8, 8, 2], dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, activation=doubled, kernel_regularizer="l2")(x)
    x = keras.layers.LayerNormalization()(keras.layers.Flatten()(x))
    x = keras.ops.concatenate([x[:, :4], x[:, 4:8] * np.float32(2)], axis=-1)
    x = keras.layers.Dropout(0.1, seed=1)(x)
    value = keras.layers.Dense(1, kernel_initializer=keras.initializers.HeNormal(3))(x)
    logits = keras.layers.Dense(3, activation=keras.activations.linear)(x)
    return keras.Model(image, [logits, value])


def own_agent():
    head = krl.distributions.Categorical(3)
    return PPO(own_network(), head, optimizer=keras.optimizers.RMSprop(0.1), seed=0)


HONEST = {
    "PPO": lambda: PPO.for_env(
        "CartPole-v1", normalize_observations=True, normalize_rewards=True,
        learning_rate=keras.optimizers.schedules.CosineDecay(0.1, 9), **SETTINGS,
    ),
    "PPO, continuous": lambda: PPO.for_env("Pendulum-v1", **SETTINGS),
    "DQN": lambda: DQN.for_env("CartPole-v1", normalize_observations=True, **SETTINGS),
    "IQN": lambda: DQN.for_env(
        "CartPole-v1", distribution="implicit_quantile", **SETTINGS,
    ),
    "recurrent": lambda: DQN.for_env("CartPole-v1", recurrent="lstm", **SETTINGS),
    "own": own_agent,
    **{name: functools.partial(make, name, home_of(name)) for name in algorithms()},
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("suffix", [".keras", ".keras.old"])
def test_honest_files_load(name, suffix, tmp_path):
    agent = HONEST[name]()
    agent.save(tmp_path / "agent.keras")
    path = (tmp_path / "agent.keras").rename(tmp_path / f"agent{suffix}")
    loaded = krl.load_agent(path, {"doubled": doubled} if name == "own" else None)
    ours, theirs = ([*a.variables, *optimizer_variables(a)] for a in (agent, loaded))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)
    shape = agent.observation_spec.shape
    observation = np.random.default_rng(0).integers(0, 9, [5, *shape])
    state = agent.initial_state(5) if agent.remembers else None
    acts = [
        tf.nest.flatten(a.act(observation, policy_state=state)) for a in (agent, loaded)
    ]
    for ours, theirs in zip(*acts, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_function_that_is_not_passed(tmp_path, refused):
    path = tmp_path / "agent.keras"
    own_agent().save(path)
    refused(path, "the function 'doubled'")
