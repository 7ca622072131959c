"""Actor-critic agents whose critic has an optimizer of its own, and its Huber loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.agents import A2C, PPO
from kerasrl2.errors import NonFiniteError
from tests.agents.harness import SEED
from tests.agents.test_a2c import GRADIENT_V, GRADIENT_W, linear_agent, one_step
from tests.training.runs import state_of, train

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
START = [[0.0, np.log(3.0)], [0.0, 0.0]]
Decay = keras.optimizers.schedules.PolynomialDecay


def two_towers(actor=None, critic=None, **hyperparameters):
    """`linear_agent`, whose two layers share no weights, with two optimizers."""
    return linear_agent(
        keras.optimizers.SGD(0.1) if actor is None else actor,
        critic_optimizer=keras.optimizers.SGD(1.0) if critic is None else critic,
        **{"max_gradient_norm": None, **hyperparameters},
    )


def test_each_takes_a_step_of_its_own_size(compiled):
    """The gradients of `test_a2c.test_one_update_by_hand`, rates 0.1 and 1."""
    agent = two_towers()
    metrics, _ = compiled(agent.update)(one_step(), SEED)
    w, v = agent.network.get_weights()
    np.testing.assert_allclose(w, START - 0.1 * GRADIENT_W, rtol=1e-5)
    np.testing.assert_allclose(v, [[0.5], [0.0]] - 1.0 * GRADIENT_V, rtol=1e-5)
    norm = np.sqrt((GRADIENT_W**2).sum() + (GRADIENT_V**2).sum())
    assert float(metrics["gradient_norm"]) == pytest.approx(norm, 1e-5)


def test_equal_optimizers_do_what_one_does():
    """Plain steps are linear: two of a rate are one of that rate."""
    results = []
    for more in ({}, {"critic_learning_rate": 0.1}):
        optimizer = keras.optimizers.SGD(0.1)
        agent = linear_agent(optimizer, max_gradient_norm=None, **more)
        agent.update(one_step(), SEED)
        results.append(agent.network.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_each_norm_is_clipped_by_itself():
    agent = two_towers(max_gradient_norm=1.0)
    agent.update(one_step(), SEED)
    w, v = agent.network.get_weights()
    of_actor = GRADIENT_W / np.linalg.norm(GRADIENT_W)  # 3.3 is more than 1
    of_critic = GRADIENT_V / np.linalg.norm(GRADIENT_V)  # and so is 1.1
    np.testing.assert_allclose(w, START - 0.1 * of_actor, rtol=1e-4)
    np.testing.assert_allclose(v, [[0.5], [0.0]] - of_critic, rtol=1e-4)


class TestTemporalDifferences:
    """Reward 1, gamma 0.99, V(s) = 10, V(s') = 11: systems.md 001-04."""

    @pytest.mark.parametrize(
        ("terminated", "truncated", "expected"),
        [(False, False, 1.89), (True, False, -9.0), (False, True, 1.89)],
    )
    def test_advantage(self, terminated, truncated, expected):
        agent = two_towers(rollout_length=1, num_envs=1, gamma=0.99)
        flag = lambda x: tf.constant([[x]])  # noqa: E731
        rollout = krl.types.Rollout(
            None, None, tf.ones([1, 1]), flag(terminated), flag(truncated), flag(True)
        )
        advantage, target = agent.advantages(rollout, flag(10.0), flag(11.0))
        assert float(advantage[0, 0]) == pytest.approx(expected, abs=1e-5)
        assert float(target[0, 0]) == pytest.approx(expected + 10.0, abs=1e-5)

    def test_neither_loss_moves_the_other_weights(self):
        agent = two_towers(rollout_length=1, num_envs=1)
        agent.entropy_coefficient = 0.0
        moved = []
        for change in ({"advantage": tf.zeros(1)}, {"target": tf.constant([0.5])}):
            before = agent.network.get_weights()
            agent.update(one_step()._replace(**change), SEED)
            after = agent.network.get_weights()
            moved.append([(a != b).any() for a, b in zip(before, after, strict=True)])
            agent.network.set_weights(before)
        assert moved == [[False, True], [True, False]]


def per_step(**more):
    settings = {"hidden": (4,), "optimizer": "adam", "learning_rate": 1e-3}
    settings |= {"critic_learning_rate": 1e-2, "rollout_length": 1, "num_envs": 1}
    return A2C.for_env("Chain-5", **{**settings, "seed": 0, "xla": False, **more})


@pytest.mark.long
def test_a_step_after_every_env_step():
    """Weights change after each, and the history has both rates."""
    agent = per_step()
    history = agent.fit("Chain-5", steps=20, epochs=20, verbose=0).history
    assert [int(o.iterations) for o, _ in agent.optimizers().values()] == [20, 20]
    assert history["actor_learning_rate"][-1] == pytest.approx(1e-3)
    assert history["critic_learning_rate"][-1] == pytest.approx(1e-2)
    assert min(history["gradient_norm"]) > 0.0


@pytest.mark.long
def test_saved_loaded_and_resumed(tmp_path):
    agent, cut = per_step(), per_step()
    history = train(agent, "Chain-5", 40)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    train(cut, "Chain-5", 40, tmp_path, every=10, callbacks=[Stop()])
    resumed = per_step()
    np.testing.assert_equal(train(resumed, "Chain-5", 40, tmp_path), history)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    assert loaded.critic_learning_rate == pytest.approx(1e-2)
    for other in (resumed, loaded):
        ours, theirs = state_of(agent), state_of(other)
        for name in (n for n in ours if "seed_generator" not in n):
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.parametrize(
    ("given", "kind", "rate"),
    [
        ({"critic_learning_rate": 1e-2}, "Adam", 1e-2),
        ({"critic_optimizer": "sgd"}, "SGD", 1e-3),
        ({"critic_optimizer": "sgd", "critic_learning_rate": 0.5}, "SGD", 0.5),
        ({"critic_learning_rate": Decay(0.5, 10)}, "Adam", 0.5),
    ],
    ids=lambda x: "",
)
def test_ways_to_say_it(given, kind, rate):
    own = {"hidden": (), "optimizer": "adam", "learning_rate": 1e-3}
    agent = PPO.for_env("Chain-5", **own, **given)
    optimizer = agent.critic_optimizer
    assert type(optimizer).__name__ == kind
    assert float(optimizer.learning_rate) == pytest.approx(rate)
    assert float(agent.optimizer.learning_rate) == pytest.approx(1e-3)


@pytest.mark.long
def test_rates_are_assigned_one_by_one():
    agent = per_step()
    agent.learning_rate, agent.critic_learning_rate = 0.5, Decay(0.25, 100)
    agent.fit("Chain-5", steps=5, epochs=1, verbose=0, learning_rate=0.125)
    assert agent.learning_rate == 0.125
    assert float(agent.critic_optimizer.learning_rate) == pytest.approx(0.2375, 1e-4)
    agent.compile(keras.optimizers.SGD(0.0))
    before = agent.network.get_layer("policy").kernel.numpy()
    agent.fit("Chain-5", steps=5, epochs=1, verbose=0)
    np.testing.assert_array_equal(agent.network.get_layer("policy").kernel, before)
    with pytest.raises(ValueError, match="optimizer of the critic's own"):
        A2C.for_env("Chain-5", hidden=()).critic_learning_rate = 0.1


@pytest.mark.long
def test_layers_that_thaw_are_taken_in():
    """With the moments of before, by the optimizer whose share they are."""
    network = per_step().network
    thawing = [network.get_layer("policy"), network.get_layer("value")]
    for layer in thawing:
        layer.trainable = False
    agent = per_step(network=network)
    before = [layer.kernel.numpy() for layer in thawing]
    agent.fit("Chain-5", steps=10, epochs=1, verbose=0)
    for layer, kernel in zip(thawing, before, strict=True):
        np.testing.assert_array_equal(layer.kernel, kernel)
        layer.trainable = True
    agent.fit("Chain-5", steps=10, epochs=1, verbose=0)
    for layer, kernel in zip(thawing, before, strict=True):
        assert (layer.kernel.numpy() != kernel).any()
    assert [int(o.iterations) for o, _ in agent.optimizers().values()] == [20, 20]


def test_a_policy_that_is_frozen_is_told_so():
    agent = per_step()
    for layer in agent.network.layers:
        layer.trainable = "value" in layer.name
    with pytest.raises(ValueError, match=r"weights for the optimizer 'actor'"):
        agent.fit("Chain-5", steps=5, epochs=1, verbose=0)


@pytest.mark.long
def test_a_fault_of_the_critic_stops_both():
    agent = per_step(max_gradient_norm=None)
    agent.network.get_layer("value").kernel.assign(np.full([4, 1], 1e38, np.float32))
    before = agent.network.get_weights()
    with pytest.raises(NonFiniteError):
        agent.fit("Chain-5", steps=10, epochs=1, verbose=0)
    for a, b in zip(agent.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"shared_trunk": True}, r"share no trainable weights.*2 are shared.*detach"),
        ({"critic_optimizer": 3}, "Expected a Keras optimizer"),
        ({"critic_learning_rate": -1.0}, "learning_rate"),
        ({"critic_optimizer": "adamm"}, "optimizer"),
        ({"huber_delta": 0.0}, "huber_delta"),
    ],
    ids=["shared", "number", "negative", "name", "delta"],
)
def test_errors(more, message):
    with pytest.raises(ValueError, match=message):
        per_step(**more)


def test_one_optimizer_for_both_is_refused():
    one = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="two optimizers"):
        per_step(optimizer=one, critic_optimizer=one)


def test_a_detached_head_has_a_critic_of_its_own():
    """The other way to keep a shared trunk: only the policy moves it."""
    inputs = keras.Input([5])
    body = keras.layers.Dense(3)(inputs)
    value = keras.layers.Dense(1)(keras.ops.stop_gradient(body))
    network = keras.Model(inputs, [keras.layers.Dense(2)(body), value])
    agent = per_step(network=network)
    assert [len(part) for _, part in agent.optimizers().values()] == [4, 2]


def test_huber_loss_of_the_value():
    """V = 0.5, y = 3.5: squared 4.5 and slope -3; Huber 2.5 and -1; times c_v 0.5."""
    agent = linear_agent(keras.optimizers.SGD(1.0), huber_delta=1.0)
    agent.max_gradient_norm = None
    metrics, _ = agent.update(one_step()._replace(target=tf.constant([3.5])), SEED)
    assert float(metrics["value_loss"]) == pytest.approx(2.5)
    v = agent.network.get_weights()[1]
    np.testing.assert_allclose(v, [[0.5 + 0.5], [2 * 0.5]], rtol=1e-5)
    restored = A2C.from_config(agent.get_config())
    assert restored.huber_delta == 1.0
