"""Networks that an agent cannot use or that cannot learn: each is one clear error."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import A2C, DQN, PPO, ObservationSpec
from kerasrl2.distributions import Categorical
from tests.agents.harness import SEED
from tests.agents.test_regularization import dqn, q_network, transition

SPEC = ObservationSpec((4,))
Dense = keras.layers.Dense


def functional(*units, shape=(4,), **last):
    x = keras.Input(shape)
    outputs = [Dense(size, **last)(x) for size in units]
    return keras.Model(x, outputs if len(outputs) > 1 else outputs[0])


class Values(keras.Model):
    """A subclass that is built by its first call."""

    def __init__(self, units=2, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.activation = units, activation
        self.dense = Dense(units, activation=activation)

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        own = {"units": self.units, "activation": self.activation}
        return {**super().get_config(), **own}


def two_inputs():
    x, y = keras.Input([4], name="x"), keras.Input([4], name="y")
    return keras.Model([x, y], Dense(2)(x + y))


def dictionary():
    x = keras.Input([4])
    return keras.Model(x, {"policy": Dense(2)(x), "value": Dense(1)(x)})


def make(agent_class, network):
    if agent_class is DQN:
        return DQN(network, observation_spec=SPEC)
    return agent_class(network, Categorical(2), SPEC)


UNFIT = {
    "two inputs": (two_inputs, r"one batch of observations, \(None, 4\).*2 input\(s\)"),
    "dictionary": (dictionary, r"a list of them.*dictionary of 'policy', 'value'"),
    "other shape": (lambda: functional(2, 1, shape=(5,)), r"\(None, 4\).*\(None, 5\)"),
    "a layer": (lambda: Dense(2), r"as a Keras 3 model.*Received: a Dense of 'keras'"),
    "none": (lambda: None, r"as a Keras 3 model.*NoneType"),
}


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("agent_class", [DQN, A2C])
def test_refused_by_every_constructor(agent_class, name):
    network, message = UNFIT[name]
    with pytest.raises(ValueError, match=message):
        make(agent_class, network())


def test_a_model_of_keras_2_is_told_so():
    import tf_keras

    with pytest.raises(ValueError, match=r"Keras 3 model.*Keras 2 \(`tf_keras`\)"):
        make(DQN, tf_keras.Sequential([tf_keras.layers.Dense(2)]))


@pytest.mark.parametrize("make_network", [lambda: keras.Sequential([Dense(2)]), Values])
def test_what_is_not_built_is_built_for_the_observations(make_network):
    agent = make(DQN, make_network())
    assert agent.network.built
    assert agent.act(np.ones([3, 4], np.float32)).shape == (3,)
    for more in ({}, {"head": Categorical(2)}):
        with pytest.raises(ValueError, match=r"a built Keras model.*no weights yet"):
            DQN(make_network(), **more)


def test_a_subclass_does_not_say_what_it_takes():
    network = Values()
    network(np.ones([1, 4], np.float32))
    with pytest.raises(ValueError, match=r"Expected `observation_spec`: Values"):
        DQN(network)


SOFTMAX = {
    "activation": lambda n: functional(n, 1, activation="softmax"),
    "layer": lambda n: keras.Sequential([keras.Input([4]), Dense(n, name="last"),
                                         keras.layers.Softmax()]),
    "nested": lambda n: keras.Sequential([keras.Input([4]), keras.Sequential(
        [keras.Input([4]), Dense(n, "softmax")])]),
    "subclass": lambda n: Values(n, "softmax"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOFTMAX)
def test_a_softmax_before_the_agents_own(name):
    agent_class = A2C if name == "activation" else DQN
    with pytest.raises(ValueError, match=r"softmax.* Leave it out|sum to one"):
        make(agent_class, SOFTMAX[name](2))


def test_other_activations_are_no_softmax():
    make(DQN, functional(2, activation="sigmoid"))
    make(DQN, Values(2, "sigmoid"))
    make(A2C, functional(2, 1, activation="log_softmax"))


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
def test_float16_is_refused_and_its_layer_named(policy):
    x = keras.Input([4])
    hidden = Dense(3, dtype=policy, name="halved")(x)
    with pytest.raises(ValueError, match=rf"'halved' of the dtype policy '{policy}'"):
        make(DQN, keras.Model(x, Dense(2)(hidden)))


def test_a_policy_for_all_layers_is_seen_too():
    """Keras would wrap the optimizer, and steps would be 2**15 times too small."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(ValueError, match="'mixed_bfloat16', or float32"):
            PPO.for_env("CartPole-v1")
    finally:
        keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def agent():
    return A2C.for_env("Chain-5", hidden=(4,), num_envs=2, seed=0, xla=False)


def fit(agent):
    return agent.fit("Chain-5", steps=20, epochs=1, verbose=0)


def test_fit_names_the_weights_that_are_nan(agent):
    kernel = agent.network.get_layer("value").kernel
    before = kernel.numpy()
    kernel.assign(before * np.nan)
    with pytest.raises(ValueError, match=r"finite weights.*4 of 4 in 'value/kernel'"):
        fit(agent)
    kernel.assign(before)


def test_fit_names_the_layers_that_are_frozen(agent):
    agent.network.trainable = False
    with pytest.raises(ValueError, match=r"trainable weights.*Frozen are: .*policy"):
        fit(agent)
    agent.network.trainable = True


class Returns(A2C):
    """Returns from `compute_loss` what it is told to."""

    wrong = staticmethod(lambda loss, metrics: (loss, metrics))

    def compute_loss(self, batch, seed):
        return self.wrong(*super().compute_loss(batch, seed))


WRONG = {
    "none": (lambda loss, metrics: None, "Received: None"),
    "loss alone": (lambda loss, metrics: loss, r"Received: float32 of shape \(\)"),
    "vector": (lambda loss, metrics: (loss[None], metrics), r"float32 of shape \(1,\)"),
    "integer": (lambda loss, metrics: (tf.cast(loss, tf.int32), metrics), "int32"),
    "swapped": (lambda loss, metrics: (metrics, loss), "Received: .{'policy_loss'"),
    "three": (lambda loss, metrics: (loss, metrics, 1), "of shape .., {.*}, 1"),
    "no dictionary": (lambda loss, metrics: (loss, [loss]), "float32 of shape"),
    "metric is none": (
        lambda loss, m: (loss, {**m, "entropy": None}), "'entropy': None"),
    "metric is a vector": (
        lambda loss, m: (loss, {**m, "entropy": loss[None]}),
        r"metrics of Returns to be scalars. Received: `entropy` of shape \(1,\)",
    ),
    "metric is text": (
        lambda loss, m: (loss, {**m, "entropy": "x"}), "`entropy` = 'x', which is no"),
    "metric is missing": (lambda loss, m: (loss, {}), r"Returns to return the metrics"),
    "no gradient": (
        lambda loss, m: (tf.stop_gradient(loss), m), "without a gradient for any"),
    "constant": (lambda loss, m: (0.0, m), "without a gradient for any"),
}  # fmt: skip


@pytest.fixture(scope="module")
def batch():
    from tests.agents.test_a2c import one_step

    return one_step()._replace(observation=tf.one_hot([2], 5))


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("graph", [False, True])
def test_what_compute_loss_must_return(name, graph, batch):
    wrong, message = WRONG[name]
    agent = Returns.for_env("Chain-5", hidden=(), seed=0)
    agent.wrong = wrong
    update = tf.function(agent.update, autograph=False) if graph else agent.update
    before = [v.numpy() for v in agent.trainable_variables]
    with pytest.raises(ValueError, match=message) as error:
        update(batch, SEED)
    assert re.search(r"\bReturns\b", str(error.value))
    if "metric" not in name:
        for old, new in zip(before, agent.trainable_variables, strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_python_number_is_a_metric(batch):
    agent = Returns.for_env("Chain-5", hidden=(), seed=0)
    agent.wrong = lambda loss, metrics: (loss, {**metrics, "entropy": 1})
    assert agent.update(batch, SEED)[0]["entropy"] == 1


def test_an_override_of_act_is_an_error_because_nothing_calls_it():
    class Acts(A2C):
        def act(self, observation, **kwargs):
            return 0

    class Below(Acts):
        pass

    for agent_class in (Acts, Below):
        message = "Expected `greedy` in Acts.*Received: `act`"
        with pytest.raises(ValueError, match=message):
            agent_class.for_env("Chain-5", hidden=())


@pytest.mark.long
def test_dqn_takes_a_subclass_trains_it_and_saves_it(tmp_path, eager):
    settings = {"learning_starts": 8, "batch_size": 4, "seed": 0, "xla": False}
    agent = DQN.for_env("Chain-5", network=Values(), buffer_size=32, **settings)
    before = agent.network.get_weights()
    agent.fit("Chain-5", steps=16, epochs=1, verbose=0)
    assert not np.array_equal(before[0], agent.network.get_weights()[0])
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras", {"Values": Values})
    x = np.eye(5, dtype=np.float32)
    for network in ("network", "target_network"):
        networks = [getattr(one, network) for one in (agent, loaded)]
        np.testing.assert_array_equal(*(one(x) for one in networks))
    with pytest.raises(ValueError, match=r"custom_objects=.'Values'"):
        krl.load_agent(tmp_path / "agent.keras")


def test_the_loss_moves_what_it_depends_on():
    agent = dqn(q_network(), optimizer=keras.optimizers.SGD(1e-3))
    before = agent.network.get_weights()
    agent.update(transition(), SEED)
    for old, new in zip(before, agent.network.get_weights(), strict=True):
        assert not np.array_equal(old, new)
