"""Optimizers of agents: names, owners, learning rates, layers that thaw."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import A2C, DQN, PPO
from tests.agents.harness import SEED
from tests.agents.test_a2c import one_step

ENV = "Chain-5"
Decay = keras.optimizers.schedules.PolynomialDecay


def make(agent_class=A2C, **more):
    settings = {"hidden": (4,), "seed": 0, "xla": False}
    if agent_class is not DQN:
        settings["num_envs"] = 2
    return agent_class.for_env(ENV, **{**settings, **more})


def batch():
    return one_step()._replace(observation=tf.one_hot([2], 5))


def fit(agent, **more):
    return agent.fit(ENV, **{"steps": 20, "epochs": 1, "verbose": 0, **more})


def weights(agent):
    return agent.network.get_weights()


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("agent_class", [A2C, PPO, DQN])
def test_a_name_gets_the_learning_rate(agent_class):
    agent = make(agent_class, optimizer="RMSprop", learning_rate=0.25)
    assert isinstance(agent.optimizer, keras.optimizers.RMSprop)
    assert agent.learning_rate == 0.25
    agent.compile("adam")
    assert isinstance(agent.optimizer, keras.optimizers.Adam)
    with pytest.raises(ValueError, match=r"`optimizer` to be one of: .*'adm'.*'adam'"):
        make(agent_class, optimizer="adm")
    with pytest.raises(ValueError, match=r"'adm'. Did you mean 'adam"):
        agent.compile("adm")
    with pytest.raises(
        ValueError, match=r"a Keras optimizer, or the name of one\. Received: 3"
    ):
        make(agent_class, optimizer=3)


@pytest.mark.parametrize("agent_class", [A2C, PPO, DQN])
@pytest.mark.parametrize("rate", [np.float32(0.5), np.float64(0.5), 1, np.int64(1)])
def test_any_number_is_a_rate(agent_class, rate):
    agent = make(agent_class, learning_rate=rate)
    assert agent.learning_rate == float(rate)
    agent.learning_rate = rate / 2
    assert agent.learning_rate == float(rate) / 2


@pytest.mark.parametrize("rate", [lambda: 0.5, "0.5", -1.0, float("nan"), None, [0.5]])
def test_what_is_no_rate(rate):
    agent = make()
    for setting in (
        make,
        lambda learning_rate: fit(agent, learning_rate=learning_rate),
    ):
        if rate is None and setting is not make:
            continue
        with pytest.raises(ValueError, match="Expected `learning_rate`"):
            setting(learning_rate=rate)
    with pytest.raises(ValueError, match="Expected `learning_rate`"):
        agent.learning_rate = rate
    assert agent.learning_rate == pytest.approx(7e-4)


def test_a_function_within_an_optimizer_is_refused():
    """A compiled program would keep its first value; no file can hold it."""
    optimizer = keras.optimizers.SGD(lambda: 0.1)
    with pytest.raises(ValueError, match=r"a Keras schedule.*LearningRateSchedule"):
        make(optimizer=optimizer)


def test_one_optimizer_for_two_agents():
    optimizer = keras.optimizers.SGD(0.1)
    first, second = make(optimizer=optimizer), make()
    for use in (lambda: make(optimizer=optimizer), lambda: second.compile(optimizer)):
        with pytest.raises(ValueError, match=r"optimizer of the agent's own.*'sgd"):
            use()
    first.update(batch(), SEED)
    second.update(batch(), SEED)
    assert isinstance(second.optimizer, keras.optimizers.RMSprop)


@pytest.fixture(scope="module")
def run_out(tmp_path_factory):
    """File of an agent whose schedule ended with its second gradient step."""
    agent = make(learning_rate=Decay(0.1, 2, 0.0))
    for _ in range(2):
        agent.update(batch(), SEED)
    path = tmp_path_factory.mktemp("agents") / "agent.keras"
    agent.save(path)
    return path


@pytest.mark.usefixtures("eager")
class TestASchedule:
    def test_that_has_run_out_is_warned_of_once(self, run_out):
        agent = krl.load_agent(run_out)
        before = weights(agent)
        with pytest.warns(
            UserWarning, match=r"rate of this A2C is 0 after 2 .* run out"
        ):
            fit(agent)
        assert same(before, weights(agent))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            fit(agent)

    @pytest.mark.long
    @pytest.mark.parametrize("rate", [0.05, Decay(0.05, 100, 0.0)])
    @pytest.mark.parametrize("assigned", [False, True])
    def test_is_replaced(self, rate, assigned, run_out):
        """A new schedule begins here, at 0.05, not at its step 2."""
        agent = krl.load_agent(run_out)
        before, moments = weights(agent), agent.optimizer.variables[-1].numpy()
        steps = int(agent.optimizer.iterations)
        more = {} if assigned else {"learning_rate": rate}
        if assigned:
            agent.learning_rate = rate
            np.testing.assert_array_equal(agent.optimizer.variables[-1], moments)
            assert float(agent.optimizer.learning_rate) == pytest.approx(0.05)
        history = fit(agent, **more).history
        assert not same(before, weights(agent))
        made = int(agent.optimizer.iterations) - steps
        left = 0.05 if isinstance(rate, float) else 0.05 * (1 - made / 100)
        assert history["learning_rate"] == [pytest.approx(left)]

    def test_of_a_fresh_agent_is_no_news(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            fit(make(learning_rate=Decay(0.1, 2, 0.0)))

    def test_that_begins_later_is_saved(self, run_out, tmp_path):
        agent = krl.load_agent(run_out)
        agent.learning_rate = Decay(0.05, 100, 0.0)
        agent.save(tmp_path / "agent.keras")
        loaded = krl.load_agent(tmp_path / "agent.keras")
        assert loaded.learning_rate.start == int(loaded.optimizer.iterations) == 2
        assert float(loaded.optimizer.learning_rate) == pytest.approx(0.05)

    @pytest.mark.parametrize("wrong", [{"epochs": 99}, {"env": "CartPole-v1"}])
    def test_stays_if_fit_refuses(self, wrong, run_out):
        agent = krl.load_agent(run_out)
        optimizer = agent.optimizer
        arguments = {"env": ENV, "steps": 20, "epochs": 1, "verbose": 0, **wrong}
        with pytest.raises(ValueError, match="Expected"):
            agent.fit(**arguments, learning_rate=0.5)
        assert agent.optimizer is optimizer
        assert float(agent.optimizer.learning_rate) == 0.0


def test_a_number_stays_too_if_fit_refuses():
    agent = make(learning_rate=0.25)
    with pytest.raises(ValueError, match="epochs"):
        fit(agent, epochs=99, learning_rate=0.5)
    assert agent.learning_rate == 0.25


def test_layers_that_thaw_are_trained_and_the_others_go_on(eager):
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    agent = make(optimizer=optimizer)
    frozen = agent.network.get_layer("policy_encoder")
    frozen.trainable = False
    agent.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    before = [frozen.get_weights(), weights(agent)]
    fit(agent)
    assert same(before[0], frozen.get_weights())
    assert not same(before[1], weights(agent))
    moments = {v.path.partition("/")[2]: v.numpy() for v in agent.optimizer.variables}
    frozen.trainable = True
    with pytest.raises(ValueError, match=r"other layers became trainable"):
        agent.update(batch(), SEED)
    agent.renew_optimizers()
    for variable in agent.optimizer.variables:
        name = variable.path.partition("/")[2]
        known = moments.get(name, np.zeros(variable.shape))
        np.testing.assert_array_equal(variable.numpy(), known, err_msg=name)
    fit(agent)
    assert not same(before[0], frozen.get_weights())


def test_layers_that_freeze_are_trained_no_more(eager):
    """Without moments the optimizers look the same; the program is another one."""
    agent = make(optimizer=keras.optimizers.SGD(0.1))
    frozen = agent.network.get_layer("policy_encoder")
    fit(agent)
    loop = agent.loop_on(ENV)
    before, structure = [frozen.get_weights(), weights(agent)], loop.state().structure
    frozen.trainable = False
    fit(agent)
    assert agent.loop_on(ENV) is not loop
    assert agent.loop_on(ENV).state().structure != structure
    assert same(before[0], frozen.get_weights())
    assert not same(before[1], weights(agent))


def test_callbacks_may_be_one(eager):
    seen = []
    one = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(1))
    agent = make()
    fit(agent, callbacks=one)
    assert seen == [1]
    for wrong in (keras.callbacks.History, [print], 3):
        with pytest.raises(ValueError, match=r"`callbacks` as a list of .*Received"):
            fit(agent, callbacks=wrong)


@pytest.mark.parametrize("agent_class", [A2C, DQN])
def test_set_random_seed_makes_a_run_repeat(agent_class, eager):
    runs = []
    for seed in (42, 42, 43):
        keras.utils.set_random_seed(seed)
        agent = make(agent_class, seed=None)
        if agent_class is A2C:
            fit(agent, steps=10)
        runs.append((agent.seed, weights(agent)))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert same(runs[0][1], runs[1][1])
    assert not same(runs[0][1], runs[2][1])


def test_every_drawn_seed_repeats():
    def draw():
        keras.utils.set_random_seed(7)
        buffers = [krl.buffers.ReplayBuffer(8, 1), krl.buffers.NumpyReplayBuffer(8, 1)]
        for buffer in buffers:
            shape = tf.TensorSpec([], tf.float32)
            buffer.build(shape, tf.TensorSpec([], tf.int32), 1)
            for i in range(8):
                buffer.add([1.0 * i], [0], [0.0], [False], [False], [0.0])
        noise = krl.layers.NoisyDense(1)
        noise.build([None, 2])
        drawn = [np.asarray(b.sample(8)[0]).tolist() for b in buffers]
        return [*drawn, noise.noise_state.numpy().tolist()]

    assert draw() == draw()
