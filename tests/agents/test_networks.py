"""Any Keras model with the right outputs can be an agent's network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import A2C, DQN, PPO, ObservationSpec
from kerasrl2.distributions import Categorical
from tests.agents.harness import SEED
from tests.agents.test_a2c import one_step

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

SETTINGS = {"rollout_length": 4, "num_envs": 2, "seed": 0, "xla": False}


def functional(value_units=1, flat_value=False):
    """Both outputs on one trunk."""
    inputs = keras.Input([4])
    trunk = keras.layers.Dense(8, activation="tanh")(inputs)
    value = keras.layers.Dense(value_units)(trunk)
    if flat_value:
        value = keras.layers.Flatten()(value)[:, 0]
    return keras.Model(inputs, [keras.layers.Dense(2)(trunk), value])


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A model written as a class, with dropout to see the training flag."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.trunk = keras.layers.Dense(units, activation="relu")
        self.dropout = keras.layers.Dropout(0.5, seed=0)
        self.policy, self.value = keras.layers.Dense(2), keras.layers.Dense(1)

    def build(self, input_shape):
        self.trunk.build(input_shape)
        for layer in (self.dropout, self.policy, self.value):
            layer.build((None, self.units))

    def call(self, observation, training=False):
        x = self.dropout(self.trunk(observation), training=training)
        return self.policy(x), self.value(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def subclassed():
    network = Subclassed()
    network(np.zeros([1, 4], np.float32))
    return network


@pytest.mark.parametrize(
    "make", [functional, lambda: functional(flat_value=True), subclassed],
    ids=["shared trunk", "value of rank 1", "subclassed"],
)  # fmt: skip
def test_trains_acts_and_saves(make, tmp_path, request):
    if make is not subclassed:  # one is compiled
        request.getfixturevalue("eager")
    network = make()
    agent = PPO.for_env(
        "CartPole-v1", network=network, batch_size=8, num_epochs=2, **SETTINGS
    )
    assert agent.network is network
    before = network.get_weights()
    history = agent.fit("CartPole-v1", steps=16, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    moved = [not np.array_equal(*pair) for pair in
             zip(before, network.get_weights(), strict=True)]  # fmt: skip
    assert sum(moved) >= 6
    observation = np.random.default_rng(0).normal(size=[5, 4]).astype("float32")
    assert agent.act(observation).shape == (5,)
    agent.save(tmp_path / "agent.keras")
    own = {"Subclassed": Subclassed}
    loaded = krl.load_agent(tmp_path / "agent.keras", own)
    assert type(loaded.network) is type(network)
    for ours, theirs in zip(
        agent.forward(tf.constant(observation))[:2],
        loaded.forward(tf.constant(observation))[:2],
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
        assert np.isfinite(ours).all()


def test_the_constructor_reads_the_observations_off_the_network(eager):
    agent = A2C(functional(), Categorical(2), **SETTINGS)
    assert agent.observation_spec == ObservationSpec((4,), "float32")
    agent.fit("CartPole-v1", steps=8, epochs=1, verbose=0)


def test_a_shared_trunk_is_moved_by_the_value_alone():
    """With an advantage of zero only the value's loss has a gradient."""
    for shared, expected in ((True, True), (False, False)):
        agent = A2C.for_env("Chain-5", hidden=(4,), shared_trunk=shared, seed=0)
        policy_trunk = agent.network.get_layer(
            "encoder" if shared else "policy_encoder"
        )
        before = policy_trunk.get_weights()
        batch = one_step()._replace(
            observation=tf.one_hot([2], 5), advantage=tf.zeros([1])
        )
        agent.update(batch, SEED)
        moved = not np.array_equal(before[0], policy_trunk.get_weights()[0])
        assert moved == expected


def model(*units, inputs=4):
    """Dense outputs of the given sizes on an input."""
    x = keras.Input([inputs])
    outputs = [keras.layers.Dense(size)(x) for size in units]
    return keras.Model(x, outputs if len(outputs) > 1 else outputs[0])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: model(3, 1), r"first output is \[B, 2\].*Categorical.*\(None, 3\)"),
        (lambda: model(1, 2), r"first output is \[B, 2\].*\(None, 1\)"),
        (lambda: model(2), r"two outputs, parameters \[B, 2\] and value.*\(None, 2\)"),
        (lambda: model(2, 3), r"two outputs.*\(None, 3\)"),
        (lambda: model(2, 1, 1), r"two outputs.*\(None, 1\).*\(None, 1\)"),
        (
            lambda: keras.Sequential([keras.Input([4]), keras.layers.Dense(2)]),
            r"two outputs, parameters \[B, 2\] and value",
        ),
    ],
)
def test_wrong_outputs_are_named(network, message):
    for agent_class in (PPO, A2C):
        with pytest.raises(ValueError, match=message):
            agent_class.for_env("CartPole-v1", network=network())


def test_a_network_for_other_observations_is_refused():
    with pytest.raises(ValueError, match=r"4.*5|5.*4"):
        PPO.for_env("CartPole-v1", network=model(2, 1, inputs=5))


def test_loss_scaling_is_refused():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    with pytest.raises(ValueError, match="without loss scaling"):
        PPO.for_env("CartPole-v1", optimizer=scaled)


def normalised(heads):
    """Batch normalisation and dropout, whose state training changes."""
    inputs = keras.Input([4])
    x = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Dense(8)(inputs))
    x = keras.layers.Dropout(0.2, seed=1)(keras.layers.ReLU()(x))
    outputs = [keras.layers.Dense(units)(x) for units in heads]
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])


@pytest.mark.long
@pytest.mark.parametrize("kind", [PPO, DQN])
@pytest.mark.parametrize("xla", [False, True])
def test_batch_normalisation_learns_in_training_alone(kind, xla, tmp_path):
    network = normalised((2, 1) if kind is PPO else (2,))
    settings = {"rollout_length": 16} if kind is PPO else {"learning_starts": 8}
    agent = kind.for_env(
        "CartPole-v1", network=network, num_envs=2, seed=0, xla=xla, batch_size=8,
        **settings,
    )  # fmt: skip
    [layer] = [
        x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)
    ]
    agent.fit("CartPole-v1", steps=64, epochs=1, verbose=0)
    after = layer.moving_mean.numpy()
    assert np.abs(after).min() > 0.0
    agent.evaluate("CartPole-v1", episodes=2)
    observation = np.ones([3, 4], np.float32)
    first, again = (agent.forward(observation).parameters for _ in range(2))
    np.testing.assert_array_equal(first, again)  # no dropout, the moving moments
    np.testing.assert_array_equal(layer.moving_mean, after)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.agents.load_agent(tmp_path / "agent.keras")
    np.testing.assert_array_equal(loaded.forward(observation).parameters, first)
