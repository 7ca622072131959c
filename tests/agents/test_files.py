"""What `save` writes, `load_agent` reads; what was changed is told with both sides."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import A2C, DQN, PPO
from kerasrl2.agents._configuration import FORMAT
from tests.agents.harness import SEED
from tests.agents.test_optimizers import batch, make

pytestmark = pytest.mark.filterwarnings("ignore:The object being serialized")


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    """What a `Lambda` is advised to be."""

    def call(self, inputs):
        return 2.0 * inputs


def network(layer):
    x = keras.Input([5])
    hidden = layer(x)
    return keras.Model(x, [keras.layers.Dense(n)(hidden) for n in (2, 1)])


def scaled(x):
    return 2.0 * x


@pytest.mark.parametrize("function", [lambda x: 2.0 * x, scaled])
def test_a_lambda_layer_is_warned_of_and_refused_by_save(function, tmp_path):
    layer = keras.layers.Lambda(function, name="twice")
    with pytest.warns(
        UserWarning, match=r"not be saved: the `Lambda` 'twice'.*subclass"
    ):
        agent = make(network=network(layer))
    path = tmp_path / "agent.keras"
    path.write_text("before")
    with pytest.raises(
        ValueError, match=r"Received: A2C.*`Lambda` 'twice'.*a subclass"
    ):
        agent.save(path)
    assert path.read_text() == "before"


def test_the_advice_works(tmp_path):
    agent = make(network=network(Doubled()))
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras", {"Doubled": Doubled})
    x = np.ones([1, 5], np.float32)
    np.testing.assert_array_equal(loaded.network(x)[0], agent.network(x)[0])


def test_functions_of_ones_own_are_saved_and_passed(tmp_path):
    agent = make(network=network(keras.layers.Dense(2, activation=scaled)))
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras", {"scaled": scaled})
    x = np.ones([1, 5], np.float32)
    np.testing.assert_array_equal(loaded.network(x)[0], agent.network(x)[0])


def test_a_lambda_as_an_activation_is_refused(tmp_path):
    layer = keras.layers.Dense(2, activation=lambda x: 2.0 * x)
    with pytest.warns(UserWarning, match=r"the lambda `activation` of the layer"):
        agent = make(network=network(layer))
    with pytest.raises(ValueError, match=r"that `load_agent` can read again"):
        agent.save(tmp_path / "agent.keras")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def agent():
    return make()


@pytest.mark.parametrize(
    "name", ["agent.h5", "agent", "agent.hdf5", "agent.weights.h5"]
)
def test_other_names_are_refused(name, agent, tmp_path):
    with pytest.raises(ValueError, match=rf"ends with '.keras'.*Received: '.*{name}'"):
        agent.save(tmp_path / name)
    with pytest.raises(ValueError, match=r"zipped=False"):
        agent.save(tmp_path / "agent.keras", zipped=False)
    assert not list(tmp_path.iterdir())


def rewritten(agent, path, change):
    """A saved agent whose configuration, as text, was changed."""
    agent.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = change(members["config.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def outermost(text, **names):
    return json.dumps({**json.loads(text), **names})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: outermost(
                text, class_name="PPO", module="kerasrl2.agents.ppo",
                registered_name="kerasrl2>PPO",
            ),
            "configuration of a PPO. Received: that of A2C, under the name PPO",
        ),
        (
            lambda text: text.replace("a2c", "ppo").replace("A2C", "PPO"),
            "a PPO. Received: that of another class, without adaptive_kl_target, ",
        ),
    ],
)  # fmt: skip
def test_a_file_under_the_name_of_another_class(change, message, agent, tmp_path):
    path = rewritten(agent, tmp_path / "agent.keras", change)
    with pytest.raises(ValueError, match=message):
        krl.load_agent(path)


@pytest.mark.parametrize("written", [FORMAT + 1, 99, "next"])
def test_a_newer_format(written, agent, tmp_path):
    def change(text):
        about = {"format": written, "saved_as": "A2C"}
        return outermost(text, build_config=about, class_name="SomethingNew")

    path = rewritten(agent, tmp_path / "agent.keras", change)
    with pytest.raises(
        ValueError, match=rf"format {FORMAT} or older.*by a newer kerasrl2"
    ):
        krl.load_agent(path)


def test_a_file_without_a_format_is_an_older_one(agent, tmp_path):
    path = tmp_path / "agent.keras"
    rewritten(agent, path, lambda text: outermost(text, build_config=None))
    assert isinstance(krl.load_agent(path), A2C)


def test_weights_of_another_size_are_told_with_both_sides(agent, tmp_path):
    path = tmp_path / "agent.keras"
    agent.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = tmp_path / "weights.h5"
    weights.write_bytes(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        found = []

        def visit(name, item):
            if getattr(item, "shape", None) == (5, 4):
                found.append(name)

        file.visititems(visit)
        del file[found[0]]
        file[found[0]] = np.ones([5, 6], np.float32)
    members["model.weights.h5"] = weights.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"\(5, 4\).*\(5, 6\)|\(5, 6\).*\(5, 4\)"):
        krl.load_agent(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("weights")
    others = {"ppo": make(PPO), "dqn": make(DQN), "wider": make(hidden=(6,))}
    for name, other in {**others, "same": make(learning_rate=0.5)}.items():
        other.save_weights(directory / f"{name}.weights.h5")
    return directory


class TestLoadWeights:
    @pytest.mark.parametrize("name", ["dqn", "wider"])
    def test_of_another_agent_change_nothing(self, name, files):
        agent = make(learning_rate=0.25)
        agent.update(batch(), SEED)
        variables = [*agent.variables, *agent.optimizer.variables]
        before = [v.numpy() for v in variables]
        path = files / f"{name}.weights.h5"
        with pytest.raises(ValueError, match=r"Expected weights of a A2C.*as it was"):
            agent.load_weights(path)
        for variable, value in zip(variables, before, strict=True):
            np.testing.assert_array_equal(
                variable.numpy(), value, err_msg=variable.path
            )
        assert agent.learning_rate == 0.25

    @pytest.mark.filterwarnings("ignore:Skipping")  # as outside of tests
    def test_not_even_the_learning_rate(self, tmp_path):
        """Without moments optimizers are alike: Keras loads that before it fails."""
        path = tmp_path / "dqn.weights.h5"
        optimizers = [keras.optimizers.SGD(rate) for rate in (0.5, 0.25)]
        make(DQN, optimizer=optimizers[0]).save_weights(path)
        agent = make(optimizer=optimizers[1])
        with pytest.raises(ValueError, match="as it was"):
            agent.load_weights(path)
        assert agent.learning_rate == 0.25

    def test_of_one_alike_are_loaded(self, files):
        agent = make(seed=1)
        agent.load_weights(files / "same.weights.h5")
        for a, b in zip(agent.network.weights, make().network.weights, strict=True):
            np.testing.assert_array_equal(a, b)
        assert agent.learning_rate == 0.5

    def test_no_such_file(self, files):
        with pytest.raises((OSError, ValueError), match="nowhere"):
            make().load_weights(files / "nowhere.weights.h5")


def test_the_step_a_file_was_saved_at_stays(tmp_path):
    agent = make()
    agent.env_steps.assign(7)
    agent.save(tmp_path / "agent.keras")
    assert int(krl.load_agent(tmp_path / "agent.keras").env_steps) == 7
    assert tf.as_dtype(agent.env_steps.dtype) == tf.int64
