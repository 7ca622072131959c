"""Exported policies: what `act` does, in programs that know no kerasrl2."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import A2C, DQN, PPO, NestedSpec, ObservationSpec, Rainbow
from kerasrl2.agents import exporting as module

SMALL = {"hidden": (4,), "seed": 0, "xla": False}
AGENTS = {
    "ppo-discrete": (PPO, "CartPole-v1", {"normalize_observations": True}),
    "ppo-continuous": (PPO, "Pendulum-v1", {"normalize_observations": True}),
    "ppo-beta": (PPO, "Pendulum-v1", {"distribution": "beta"}),
    "dqn": (DQN, "CartPole-v1", {"normalize_observations": True, "dueling": True}),
    "dqn-implicit": (DQN, "CartPole-v1", {"distribution": "implicit_quantile"}),
    "dqn-board": (DQN, "GridBreakout-v0", {}),
    "rainbow": (Rainbow, "CartPole-v1", {}),
}


def made(agent_class, env, keywords, rows=200):
    """An agent with statistics of its own, and a batch of observations."""
    agent = agent_class.for_env(env, **SMALL, **keywords)
    spec, rng = agent.observation_spec, np.random.default_rng(0)
    batch = rng.normal(0.5, 2.0, [rows, *spec.shape])
    batch = (batch > 0.0 if spec.dtype == "uint8" else batch).astype(spec.dtype)
    if agent.observation_normalizer is not None:
        agent.observation_normalizer.update(batch * 3 + 1)
    return agent, batch


@pytest.fixture(scope="module")
def ppo():
    return made(*AGENTS["ppo-discrete"])


def test_the_signature_gives_actions_and_what_they_are_chosen_from(ppo, tmp_path):
    agent, batch = ppo
    agent.export(tmp_path / "cartpole" / "1")
    loaded = tf.saved_model.load(tmp_path / "cartpole" / "1")
    said = loaded.signatures["serving_default"](observation=tf.constant(batch))
    assert set(said) == {"action", "parameters", "probabilities", "value"}
    np.testing.assert_array_equal(said["action"], agent.act(batch))
    assert len(set(said["action"].numpy().tolist())) == 2
    outputs = agent.forward(batch)
    np.testing.assert_allclose(said["parameters"], outputs.parameters, rtol=1e-5)
    np.testing.assert_allclose(said["value"], outputs.value, rtol=1e-5)
    chances = np.exp(outputs.parameters)
    chances /= chances.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(said["probabilities"], chances, rtol=1e-5)
    np.testing.assert_array_equal(loaded.serve(batch[:3]), agent.act(batch[:3]))


def test_only_what_the_policy_reads_is_in_it(tmp_path):
    agent, batch = made(*AGENTS["dqn"])
    agent.export(tmp_path)  # an empty directory that is there
    loaded = tf.saved_model.load(tmp_path)
    said = loaded.signatures["serving_default"](observation=tf.constant(batch))
    assert set(said) == {"action", "action_values"}
    known = agent.forward(batch).parameters
    np.testing.assert_allclose(said["action_values"], known, rtol=1e-4)
    read = [*agent.network.weights, *agent.observation_normalizer.weights]
    assert 0 < len(loaded.policy_variables) <= len(read)  # and no target network


def test_an_agent_that_acts_its_own_way_is_exported_as_it_acts(tmp_path):
    class Second(A2C):
        def greedy(self, outputs):
            return 1 - super().greedy(outputs)

    agent = Second.for_env("CartPole-v1", **SMALL)
    batch = np.random.default_rng(0).normal(size=[20, 4]).astype(np.float32)
    agent.export(tmp_path / "second")
    loaded = tf.saved_model.load(tmp_path / "second")
    np.testing.assert_array_equal(loaded.serve(batch), agent.act(batch))


def test_inputs_are_named_after_the_entries_of_a_nest():
    one, two = ObservationSpec((3,)), ObservationSpec((2, 2), "uint8")
    named = {
        "observation": one,
        "inner": {"the-map": two, "goal": (one, two)},
    }
    found = [(x.name, x.shape.as_list(), x.dtype) for x in module._signature(named)]
    assert found == [
        ("inner_goal_0", [None, 3], tf.float32),
        ("inner_goal_1", [None, 2, 2], tf.uint8),
        ("inner_the_map", [None, 2, 2], tf.uint8),
        ("observation", [None, 3], tf.float32),
    ]
    assert [x.name for x in module._signature((one, two))] == [
        "observation_0",
        "observation_1",
    ]


def test_a_nest_becomes_several_inputs_of_the_saved_signature(tmp_path):
    """What an agent of such observations needs of this is what a fake one has."""

    class Summing:
        observation_spec = NestedSpec(
            {
                "left": ObservationSpec((1,)),
                "right": NestedSpec(
                    (ObservationSpec((1,)), ObservationSpec((), "int32"))
                ),
            }
        )
        head = type("Head", (), {"kind": None, "to_env": staticmethod(tf.identity)})

        def forward(self, observation):
            first, second = observation["right"]
            total = observation["left"] - first
            total = total[:, 0] + 10.0 * tf.cast(second, tf.float32)
            return type("Outputs", (), {"parameters": total[:, None], "value": None})

        def greedy(self, outputs):
            return outputs.parameters[:, 0]

        def initial_state(self, num_envs):
            return ()

    module.export(Summing(), tmp_path / "sum")
    loaded = tf.saved_model.load(tmp_path / "sum").signatures["serving_default"]
    said = loaded(
        left=tf.constant([[5.0], [6.0]]),
        right_0=tf.constant([[1.0], [2.0]]),
        right_1=tf.constant([3, 4]),
    )
    assert said["action"].numpy().tolist() == [34.0, 44.0]


@pytest.mark.parametrize(
    ("path", "format", "message"),
    [
        ("a", "h5", "`format` to be one of: saved_model, tflite, onnx. Received: 'h5'"),
        ("a.bin", "tflite", r"ends with '.tflite' .* Received: \S+a.bin"),
        ("a.tflite", "onnx", "ends with '.onnx'"),
        ("a.tflite", "saved_model", "Add format='tflite'"),
        ("a.onnx", "saved_model", "Add format='onnx'"),
        ("directory.onnx", "onnx", "Expected a file. Received: .* a directory"),
        ("file", "saved_model", "Received: .*file, a file. Choose another"),
        (
            "full",
            "saved_model",
            "full, which holds mine. Choose another, or remove it.$",
        ),
        (
            "model/7",
            "saved_model",
            "7, which holds mine. .* The next version is .*model/8",
        ),
    ],
)
def test_what_is_there_already_stays(ppo, tmp_path, path, format, message):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "directory.onnx").mkdir()
    for directory in ("full", "model/7"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        ppo[0].export(tmp_path / path, format=format)
    assert sorted(tmp_path.rglob("*")) == before


def test_without_the_converter_onnx_names_the_extra(ppo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r'pip install "kerasrl2\[onnx\]"'):
        ppo[0].export(tmp_path / "a.onnx", format="onnx")
    assert list(tmp_path.iterdir()) == []


STRANGER = """
import sys
from pathlib import Path

sys.modules["kerasrl2"] = None  # importing it raises
import numpy as np
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

for directory in map(Path, sys.argv[1:]):
    batch = np.load(directory / "batch.npy")
    loaded = tf.saved_model.load(directory / "1")
    serve = loaded.signatures["serving_default"]
    of_tensorflow = serve(observation=tf.constant(batch))
    lite = Interpreter(str(directory / "policy.tflite"))
    of_lite = lite.get_signature_runner("serving_default")(observation=batch)
    session = onnxruntime.InferenceSession(directory / "policy.onnx")
    names = [output.name for output in session.get_outputs()]
    of_onnx = dict(zip(names, session.run(names, {"observation": batch})))
    for said in (of_lite, of_onnx):
        assert set(said) == set(of_tensorflow), (set(said), set(of_tensorflow))
    for name, said in zip(("1", "tflite", "onnx"), (of_tensorflow, of_lite, of_onnx)):
        np.save(directory / f"{name}.npy", np.asarray(said["action"]))
assert sys.modules["kerasrl2"] is None
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Directories of `AGENTS` with every format, and what a stranger made of them."""
    for package in ("ai_edge_litert", "onnxruntime", "tf2onnx"):
        pytest.importorskip(package)
    root = tmp_path_factory.mktemp("exported")
    agents = {}
    for name, recipe in AGENTS.items():
        agent, batch = agents[name] = made(*recipe)
        agent.export(root / name / "1")
        agent.export(root / name / "policy.tflite", format="tflite")
        agent.export(root / name / "policy.onnx", format="onnx")
        np.save(root / name / "batch.npy", batch)
    directories = [root / name for name in AGENTS]
    ran = subprocess.run(
        [sys.executable, "-c", STRANGER, *directories],
        cwd=root, env={"TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return root, agents


@pytest.mark.long
@pytest.mark.parametrize("format", ["1", "tflite", "onnx"])
@pytest.mark.parametrize("name", AGENTS)
def test_a_stranger_gets_the_same_greedy_actions(exported, name, format):
    root, agents = exported
    agent, batch = agents[name]
    actions, expected = np.load(root / name / f"{format}.npy"), agent.act(batch)
    assert actions.dtype == expected.dtype
    if expected.dtype == np.int32 or format == "1":
        np.testing.assert_array_equal(actions, expected)
    else:  # other kernels, which round differently
        np.testing.assert_allclose(actions, expected, rtol=1e-4, atol=1e-6)
    assert len(np.unique(actions)) > 1


@pytest.mark.long
def test_saved_model_cli_shows_the_signature(exported):
    root, _ = exported
    command = [Path(sys.executable).with_name("saved_model_cli"), "show", "--dir"]
    ran = subprocess.run(
        [*command, root / "ppo-continuous" / "1", "--all"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = " ".join(ran.stdout.split())
    assert "signature_def['serving_default']" in words
    assert "inputs['observation'] tensor_info: dtype: DT_FLOAT shape: (-1, 3)" in words
    assert "outputs['action'] tensor_info: dtype: DT_FLOAT shape: (-1, 1)" in words
    assert "outputs['parameters'] tensor_info: dtype: DT_FLOAT shape: (-1, 2)" in words
    assert "outputs['value'] tensor_info: dtype: DT_FLOAT shape: (-1)" in words


@keras.saving.register_keras_serializable(package="tests")
class Unusual(keras.layers.Layer):
    """An operation that LiteRT has not, or only from TensorFlow."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        return getattr(tf.math, self.function)(inputs)


@pytest.mark.long
@pytest.mark.parametrize(
    ("function", "operation", "fits"),
    [("sinh", "Sinh", True), ("bessel_i0e", "BesselI0e", False)],
)
def test_operations_that_a_converter_lacks_are_told(
    tmp_path, function, operation, fits
):
    pytest.importorskip("tf2onnx")
    inputs = keras.Input([4])
    hidden = Unusual(function)(inputs)
    outputs = [keras.layers.Dense(2)(hidden), keras.layers.Dense(1)(hidden)]
    agent = A2C.for_env("CartPole-v1", network=keras.Model(inputs, outputs))
    if fits:
        agent.export(tmp_path / "a.onnx", format="onnx")
        with pytest.warns(UserWarning, match=f"LiteRT has not: {operation}. The file"):
            agent.export(tmp_path / "a.tflite", format="tflite")
    else:
        message = f"Lite's converter can convert. .*{operation}. .*'saved_model'"
        with pytest.raises(ValueError, match=message):
            agent.export(tmp_path / "a.tflite", format="tflite")
        message = f"that tf2onnx can convert. .*{operation}. Export .*'saved_model'"
        with pytest.raises(ValueError, match=message):
            agent.export(tmp_path / "a.onnx", format="onnx")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == (["a.onnx", "a.tflite"] if fits else [])


@pytest.mark.long
def test_types_that_the_converter_mixes_up_are_told(tmp_path):
    """Its file for `mixed_bfloat16` is one that ONNX Runtime cannot load."""
    pytest.importorskip("tf2onnx")
    inputs = keras.Input([4])
    hidden = keras.layers.Dense(3, dtype="mixed_bfloat16")(inputs)
    outputs = [keras.layers.Dense(2)(hidden), keras.layers.Dense(1)(hidden)]
    agent = A2C.for_env("CartPole-v1", network=keras.Model(inputs, outputs))
    with pytest.raises(ValueError, match=r"tf2onnx can convert.*bfloat16.*Export it"):
        agent.export(tmp_path / "a.onnx", format="onnx")
    assert list(tmp_path.iterdir()) == []
