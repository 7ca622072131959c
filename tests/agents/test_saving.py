"""Tests of `Agent.save` and `load_agent`."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2 import envs
from kerasrl2.agents import A2C, PPO
from kerasrl2.training.collect import begin_episodes, collect
from tests.agents.harness import SEED
from tests.training.worlds import Scripted

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

SETTINGS = {"hidden": (4,), "rollout_length": 4, "num_envs": 2, "seed": 0, "xla": False}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained PPO with normalisers and a schedule, and its file."""
    path = tmp_path_factory.mktemp("saved") / "agent.keras"
    agent = PPO.for_env(
        "CartPole-v1", normalize_observations=True, normalize_rewards=True,
        learning_rate=keras.optimizers.schedules.PolynomialDecay(0.05, 100, 0.01),
        clip_range=keras.optimizers.schedules.PolynomialDecay(0.3, 100, 0.1),
        batch_size=4, num_epochs=2, **SETTINGS,
    )  # fmt: skip
    agent.fit("CartPole-v1", steps=32, epochs=1, verbose=0)
    agent.save(path)
    return agent, path


@pytest.mark.long
def test_schedules_and_counters_come_back(saved):
    agent, path = saved
    loaded = krl.load_agent(path)
    assert int(loaded.optimizer.iterations) == int(agent.optimizer.iterations) == 16
    assert int(loaded.env_steps) == 32
    for schedule in (loaded.clip_range, loaded.optimizer._learning_rate):
        assert isinstance(schedule, keras.optimizers.schedules.PolynomialDecay)
    rates = [float(a.optimizer.learning_rate) for a in (agent, loaded)]
    assert rates[0] == rates[1] < 0.05


def test_normalisers_come_back(saved):
    agent, path = saved
    loaded = krl.load_agent(path)
    for name in ("observation_normalizer", "reward_scaling"):
        layer, other = getattr(agent, name), getattr(loaded, name)
        assert float(layer.count) == pytest.approx(32, abs=1e-3)
        for a, b in zip(layer.variables, other.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_next_update_is_that_of_the_uninterrupted_run(saved):
    """Weights and Adam's slots, to the bit, after one more update on one batch."""
    _, path = saved
    agents = [krl.load_agent(path) for _ in range(2)]
    env = envs.make("CartPole-v1", num_envs=2)
    player = krl.load_agent(path)  # whose statistics go on
    _, rollout = collect(player, env, begin_episodes(player, env, SEED), 4, SEED)
    batch, _ = player.prepare(rollout, player.initial_learner_state(2))
    agents[0].update(batch, SEED)
    again = path.with_name("again.keras")
    agents[0].save(again)
    agents[1] = krl.load_agent(again)
    for agent in agents:
        agent.update(batch, SEED)
    fresh = krl.load_agent(path)
    fresh.update(batch, SEED)
    fresh.update(batch, SEED)
    for agent in (agents[1], fresh):
        for a, b in zip(
            [*agents[0].variables, *agents[0].optimizer.variables],
            [*agent.variables, *agent.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)


@pytest.mark.long
def test_training_goes_on_alike(saved):
    _, path = saved
    agents = [krl.load_agent(path) for _ in range(2)]
    for agent in agents:
        agent.fit("CartPole-v1", steps=8, epochs=1, verbose=0)
    for a, b in zip(agents[0].weights, agents[1].weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert int(agents[0].env_steps) == 40


class Unregistered(A2C):
    """Nobody told Keras of it."""


def test_own_classes_are_given_as_custom_objects(tmp_path):
    path = tmp_path / "own.keras"
    Unregistered.for_env("Chain-5", **SETTINGS).save(path)
    loaded = krl.load_agent(path, custom_objects={"Unregistered": Unregistered})
    assert type(loaded) is Unregistered


def write(path, content):
    path.write_bytes(content)


def zip_without_config(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")


def zip_with_broken_config(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{")
        archive.writestr("metadata.json", "{}")


def zip_of_an_unknown_class(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "config.json",
            '{"module": "nowhere", "class_name": "Ghost", "config": {}, '
            '"registered_name": "nowhere>Ghost"}',
        )
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')


def plain_model(path):
    keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]).save(path)


def lambda_model(path):
    """Loading it would run its code."""
    code = keras.layers.Lambda(lambda x: x * 2)
    keras.Sequential([keras.Input([2]), code]).save(path)


def truncated(path):
    A2C.for_env("Chain-5", **SETTINGS).save(path)
    write(path, path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: write(path, b"hello"), "not such an archive"),
        (lambda path: write(path, b""), "not such an archive"),
        (truncated, "not such an archive"),
        (zip_without_config, "could not be loaded"),
        (zip_with_broken_config, "could not be loaded"),
        (zip_of_an_unknown_class, "could not be loaded"),
        (lambda_model, r"could not be loaded: .*[Ll]ambda"),
        (plain_model, r"holds a Sequential.*network=\.\.\."),
    ],
)
def test_what_is_not_an_agent_is_refused(make, message, tmp_path):
    path = tmp_path / "wrong.keras"
    make(path)
    with pytest.raises(ValueError, match=message) as error:
        krl.load_agent(path)
    assert error.match("wrong.keras")
    assert len(str(error.value)) < 500


def test_a_missing_file_or_a_directory(tmp_path):
    for path in (tmp_path / "none.keras", tmp_path, str(tmp_path / "none.keras")):
        with pytest.raises(FileNotFoundError, match=r"There is no file"):
            krl.load_agent(path)


def test_an_agent_of_another_space_is_told_so(saved):
    loaded = krl.load_agent(saved[1])
    with pytest.raises(ValueError, match=r"shape \(4,\).*'Pendulum-v1' with shape"):
        loaded.fit("Pendulum-v1", steps=8, epochs=1, verbose=0)
    with pytest.raises(ValueError, match=r"'Scripted' with shape \(3,\)"):
        loaded.evaluate(Scripted([3]), episodes=1)


@pytest.mark.parametrize("observation", [np.zeros(3), np.zeros([2, 5]), 1.0, [[[0.0]]]])
def test_act_names_the_shape_it_needs(saved, observation):
    shape = str(np.shape(observation)).replace("(", r"\(").replace(")", r"\)")
    for method in (saved[0].act, saved[0].predict):
        with pytest.raises(ValueError, match=rf"shape \(4,\).*Received: {shape}"):
            method(observation)


def test_an_agent_for_other_actions_is_told_so():
    discrete = A2C.for_env(envs.make("Endless-1"), **SETTINGS)
    continuous = envs.exact.Endless(continuous=True)
    with pytest.raises(
        ValueError, match=r"Categorical.*Received: 'Endless-1' with Box"
    ):
        discrete.fit(continuous, steps=8, epochs=1, verbose=0)


def test_export_serves_greedy_actions(saved, tmp_path):
    agent, _ = saved
    agent.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    observation = np.random.default_rng(0).normal(size=[7, 4]).astype("float32")
    np.testing.assert_array_equal(served.serve(observation), agent.act(observation))
