"""Losses, targets and steps of agents with critics, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import DDPG, REDQ, SAC, TD3, TQC, CrossQ, DiscreteSAC
from kerasrl2.buffers import ReplayBuffer
from kerasrl2.distributions import Categorical, Deterministic, SquashedGaussian
from kerasrl2.losses import huber, quantile_huber_loss, quantile_midpoints
from kerasrl2.types import Transition
from tests.agents.linear_critics import NEXT, S, linear, transitions

SEED = tf.constant([3, 4])
SGD = keras.optimizers.SGD
TWINS = [[0, 0], [1, 1], [1, 1]]  # q = s2 + a, twice
ACTION = tf.constant([[5.0], [6.0]])


def make(agent_class, actor, critic, head, **settings):
    rate = settings.pop("rate", 0.1)
    optimizers = {"actor_optimizer": SGD(rate), "critic_optimizer": SGD(rate)}
    if agent_class in (SAC, DiscreteSAC):
        optimizers["temperature_optimizer"] = SGD(rate)
    settings = {
        "buffer": ReplayBuffer(8, gamma=0.9), "batch_size": 2, "seed": 0, **settings
    }  # fmt: skip
    return agent_class(actor, critic, head, **optimizers, **settings)


def sac(critic=None, **settings):
    head = SquashedGaussian([-1.0], [1.0])
    actor = linear(np.zeros([2, 2]), inputs=(2,))
    return make(SAC, actor, critic or linear(TWINS), head, **settings)


def td3(actor, critic, agent_class=TD3, **settings):
    return make(agent_class, actor, critic, Deterministic([-1.0], [1.0]), **settings)


def snapshot(*networks):
    return [weight.numpy() for network in networks for weight in network.weights]


def same(before, *networks):
    after = snapshot(*networks)
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


# Worked values


def test_soft_critic():
    agent, batch = sac(), transitions(ACTION)
    value = agent.values_of(agent.critic, S, ACTION)
    np.testing.assert_allclose(value, [[7, 7], [10, 10]])
    following = agent.values_of(agent.target_critic, NEXT, np.ones([2, 1]))
    target = agent.compute_targets(batch, following, -10.0, SEED)  # alpha 1, log pi 10
    np.testing.assert_allclose(target, [7.3, 19.1], rtol=1e-6)
    loss, error = agent.critic_losses(value, target)
    assert float(tf.reduce_mean(loss)) == pytest.approx(82.9, rel=1e-6)
    np.testing.assert_allclose(error, [0.3, 9.1], rtol=1e-5)


def test_soft_actor(monkeypatch):
    agent = sac(learn_temperature=False)
    monkeypatch.setattr(agent.head, "centred", tf.ones_like)
    monkeypatch.setattr(
        agent.head, "log_prob", lambda p, u: tf.fill([2], 10.0) + 0.0 * p[:, 0]
    )
    loss, *_, entropy, temperature = agent.update_actor(transitions(ACTION), SEED)
    assert float(loss) == pytest.approx(6.0)
    assert (float(entropy), float(temperature)) == (-10.0, 1.0)


@pytest.mark.parametrize(("entropy", "moved"), [(-10.0, 1.3), (4.0, -0.1)])
def test_temperature(entropy, moved):
    """It rises where the entropy is below its target and falls above."""
    agent = sac(target_entropy=3.0)
    agent.log_temperature.assign(4.0)
    step = agent.update_temperature(tf.constant(entropy))
    assert float(step.loss) == 4.0 * (entropy - 3.0)  # -52 for the first
    assert float(agent.log_temperature) == pytest.approx(4.0 + moved)


def test_deterministic_critic():
    critic = linear([[1], [3], [2]], bias=4.0)
    agent = td3(linear(np.zeros([2, 1]), (2,)), critic, DDPG, loss="huber")
    action = 2 * NEXT[:, :1] + NEXT[:, 1:] + 5.0
    following = agent.values_of(agent.target_critic, NEXT, action)
    target = agent.compute_targets(transitions(ACTION), following, 0.0, SEED)
    np.testing.assert_allclose(target, [72.1, 100.1], rtol=1e-6)
    value = agent.values_of(agent.critic, S, ACTION)
    np.testing.assert_allclose(value[:, 0], [21, 31])
    loss, _ = agent.critic_losses(value, target)
    assert float(tf.reduce_mean(loss)) == pytest.approx(59.6, rel=1e-6)


def test_deterministic_actor_goes_up_the_critic():
    """At `w = 0` tanh has slope 1: `d(-q)/dw = -2 * 3`."""
    actor = linear([[0.0]], inputs=(1,))
    agent = td3(actor, linear([[0], [2]], inputs=(1, 1)))
    batch = Transition(tf.constant([[3.0]]), *[None] * 5)
    loss, norm = agent.update_actor(batch, SEED)
    assert (float(loss), float(norm)) == (0.0, pytest.approx(np.hypot(6.0, 2.0)))
    assert float(actor.weights[0][0, 0]) == pytest.approx(0.6)


def test_a_quadratic_critic(monkeypatch):
    """`Q = -(a - 3)**2`, `mu = w s`: from `w = 1`, `s = 2` to 1.4."""
    actor = linear([[1.0]], inputs=(1,))
    observation, action = keras.Input([1]), keras.Input([1])
    value = -((action + 0.0 * observation - 3.0) ** 2)
    scale = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    critic = keras.Model([observation, action], scale(value))
    agent = td3(actor, critic)
    monkeypatch.setattr(agent.head, "mode", lambda parameters: parameters)
    before = snapshot(critic)
    agent.update_actor(Transition(tf.constant([[2.0]]), *[None] * 5), SEED)
    assert float(actor.weights[0][0, 0]) == pytest.approx(1.4)
    assert same(before, critic)


@pytest.mark.parametrize(("discount", "target"), [(0.99, 2.98), (0.0, 1.0)])
def test_a_terminal_state_is_worth_nothing(discount, target):
    agent = sac()
    batch = transitions(ACTION, reward=[1.0, 1.0], discount=discount)
    received = agent.compute_targets(batch, tf.fill([2, 2], 2.0), 0.0, SEED)
    np.testing.assert_allclose(received, [target] * 2, rtol=1e-6)


# What moves


CLASSES = {"sac": sac, "td3": lambda **s: td3(linear([[0.1], [0.2]], (2,)),
                                              linear(TWINS), **s)}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.long)])
def test_each_step_moves_its_own_weights(name, xla):
    agent, batch = CLASSES[name](rate=0.001), transitions(ACTION)

    def compiled(function):
        return tf.function(function, autograph=False, jit_compile=xla)()

    rest = [agent.network, agent.target_critic]
    before = snapshot(*rest), snapshot(agent.critic)
    compiled(
        lambda: agent.gradient_step("critic", lambda: agent.critic_loss(batch, SEED))
    )
    assert same(before[0], *rest)
    assert not same(before[1], agent.critic)
    rest = [agent.critic, agent.target_critic]
    before = snapshot(*rest), snapshot(agent.network)
    compiled(lambda: agent.update_actor(batch, SEED))
    assert same(before[0], *rest)
    assert not same(before[1], agent.network)


@pytest.mark.parametrize("name", CLASSES)
def test_targets_follow_by_tau(name):
    agent = CLASSES[name](tau=0.25, target_update_interval=1, policy_delay=1)
    networks = [(agent.critic, agent.target_critic)]
    if name == "td3":
        networks.append((agent.network, agent.target_network))
    old = [snapshot(target) for _, target in networks]
    tf.function(agent.update, autograph=False)(transitions(ACTION), SEED)
    for (online, target), before in zip(networks, old, strict=True):
        for was, now, new in zip(
            before, snapshot(target), snapshot(online), strict=True
        ):
            np.testing.assert_allclose(now, 0.75 * was + 0.25 * new, rtol=1e-5)
            assert not np.array_equal(was, now)


def test_the_delayed_steps():
    agent = CLASSES["td3"](rate=1e-4, policy_delay=2, target_update_interval=3)
    batch, moved = transitions(ACTION), []
    update = tf.function(agent.update, autograph=False)
    for _ in range(6):
        before = snapshot(agent.network), snapshot(agent.target_critic)
        update(batch, SEED)
        networks = agent.network, agent.target_critic
        pairs = zip(before, networks, strict=True)
        moved.append([not same(was, network) for was, network in pairs])
    assert [actor for actor, _ in moved] == [False, True] * 3
    assert [target for _, target in moved] == [False, False, True] * 2
    assert int(agent.actor_optimizer.iterations) == 3


def test_nothing_moves_after_a_loss_that_is_not_finite():
    agent = CLASSES["td3"](policy_delay=1)
    before = snapshot(agent)
    batch = transitions(ACTION, reward=[np.inf, 1.0])
    tf.function(agent.update, autograph=False)(batch, SEED)
    assert same(before, agent)
    assert not bool(agent.guard.is_healthy())


# Variants and their limits


def test_importance_weights_and_the_td_error():
    agent, batch = sac(), transitions(ACTION, weight=[0.5, 2.0])
    loss, metrics = agent.critic_loss(batch, SEED)
    error = np.asarray(metrics["td_error"])
    expected = np.mean(np.array([0.5, 2.0]) * 2 * error**2)  # the critics are equal
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_target_noise_is_clipped():
    actor = linear([[0.0], [0.0]], (2,))
    agent = td3(actor, linear(TWINS), target_noise=9.0, target_noise_clip=0.25)
    action, bonus = agent.next_actions(tf.zeros([64, 2]), SEED)
    assert np.abs(action).max() == 0.25
    assert np.abs(action).mean() > 0.2
    assert bonus == 0.0
    actor.layers[-1].set_weights([np.zeros([2, 1]), np.array([9.0])])
    agent.target_network.set_weights(actor.get_weights())
    action, _ = agent.next_actions(tf.zeros([64, 2]), SEED)
    assert np.max(action) == 1.0  # and within bounds


def test_a_subset_of_critics():
    kernels = np.float32([[0, 0, 0], [0, 0, 0], [1, 2, 3]])
    agent = make(
        SAC, linear(np.zeros([2, 2]), (2,)), linear(kernels),
        SquashedGaussian([-1.0], [1.0]), target_subset=2,
    )  # fmt: skip
    batch = transitions(ACTION, reward=[0.0, 0.0], discount=1.0)
    value = tf.constant([[1.0, 2.0, 3.0]] * 2)
    seen = {
        float(agent.compute_targets(batch, value, 0.0, tf.constant([i, 7]))[0])
        for i in range(40)
    }
    assert seen == {1.0, 2.0}  # the least of two of three is never 3
    agent.target_subset = 3
    assert agent.compute_targets(batch, value, 0.0, SEED).numpy().tolist() == [1.0, 1.0]


def test_truncated_quantiles():
    agent = TQC.for_env(
        "Pendulum-v1", hidden=(4,), num_quantiles=3, dropped_quantiles=1, seed=0,
    )  # fmt: skip
    value = tf.constant([[[1.0, 5.0, 3.0], [2.0, 9.0, 4.0]]] * 2)
    batch = transitions(ACTION, reward=[1.0, 0.0], discount=0.5)
    target = agent.compute_targets(batch, value, tf.constant([2.0, 0.0]), SEED)
    np.testing.assert_allclose(target, [[2.5, 3, 3.5, 4], [0.5, 1, 1.5, 2]])
    loss, error = agent.critic_losses(value, target)
    naive = sum(
        quantile_huber_loss(value[:, k], target, quantile_midpoints(3)) / 3
        for k in range(2)
    )
    np.testing.assert_allclose(loss, naive, rtol=1e-6)
    np.testing.assert_allclose(error, [3.25 - 4.0, 1.25 - 4.0])


def test_one_pass_over_both_without_targets():
    agent = CrossQ.for_env("Pendulum-v1", hidden=(4,), seed=0)
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=[6, 3]), rng.normal(size=[6, 1]), rng.normal(size=6)]
    rows += [np.full(6, 0.9), rng.normal(size=[6, 3]), np.ones(6)]
    batch = Transition(*(tf.constant(row, tf.float32) for row in rows))
    following = tf.constant(rng.uniform(-1, 1, [6, 1]), tf.float32)
    norm = next(x for x in agent.critic.layers if hasattr(x, "moving_mean"))
    value, next_value = agent.paired_values(batch, following)
    assert value.shape == next_value.shape == (6, 2)
    observation = np.concatenate([batch.observation, batch.next_observation])
    action = np.concatenate([np.tanh(batch.action), following])
    both = np.concatenate([observation, action], axis=1)
    np.testing.assert_allclose(norm.moving_mean, 0.01 * both.mean(0), rtol=1e-4)
    assert agent.target_critic is None
    assert int(norm.steps) == 1


@pytest.mark.long
def test_twin_delayed_with_the_switches_off_is_ddpg():
    settings = {"hidden": (8,), "seed": 1, "learning_starts": 8, "batch_size": 8}
    off = {"num_critics": 1, "noise": "ornstein_uhlenbeck", "noise_stddev": 0.2}
    off |= {"target_noise": 0.0, "policy_delay": 1, "target_update_interval": 1}
    off |= {"learning_rate": 1e-3, "critic_learning_rate": 2e-3, "buffer_size": 50_000}
    agents = [
        DDPG.for_env("Pendulum-v1", xla=False, **settings),
        TD3.for_env("Pendulum-v1", xla=False, **settings, **off),
    ]
    for agent in agents:
        agent.fit("Pendulum-v1", steps=40, epochs=1, verbose=0)
    weights = [snapshot(agent) for agent in agents]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_an_ensemble_with_the_switches_off_is_sac():
    settings = {"hidden": (4,), "seed": 1, "learning_starts": 8, "batch_size": 8}
    off = {"num_critics": 2, "target_subset": None, "actor_reduction": "min"}
    off |= {"gradient_steps": 1, "policy_delay": 1}
    agents = [
        SAC.for_env("Pendulum-v1", xla=False, **settings),
        REDQ.for_env("Pendulum-v1", xla=False, **settings, **off),
    ]
    for agent in agents:
        agent.fit("Pendulum-v1", steps=24, epochs=1, verbose=0)
    for a, b in zip(*map(snapshot, agents), strict=True):
        np.testing.assert_array_equal(a, b)


# Discrete actions


def discrete(**settings):
    logits = linear([[0.5, 0.0], [0.0, 0.25]], inputs=(2,))
    inputs = keras.Input([2])
    values = keras.layers.Dense(4, use_bias=False)
    outputs = keras.layers.Reshape([2, 2])(values(inputs))
    critic = keras.Model(inputs, outputs)
    values.set_weights([np.float32([[1, 2, 0, 1], [0, 1, 1, 3]])])
    return make(DiscreteSAC, logits, critic, Categorical(2), **settings)


def test_discrete_losses():
    """A naive sum over actions; the temperature is 0.5."""
    agent = discrete(temperature=0.5)
    batch = transitions([0, 1])._replace(action=tf.constant([1, 0]))
    loss, metrics = agent.critic_loss(batch, SEED)
    kernel = np.float32([[1, 2, 0, 1], [0, 1, 1, 3]])
    weights = np.float32([[0.5, 0.0], [0.0, 0.25]])
    q, after = ((x.numpy() @ kernel).reshape(2, 2, 2) for x in (S, NEXT))
    total = 0.0
    for row in range(2):
        p = np.exp(NEXT[row].numpy() @ weights)
        p /= p.sum()
        least = after[row].min(axis=0)
        soft = sum(p[a] * (least[a] - 0.5 * np.log(p[a])) for a in range(2))
        target = batch.reward[row] + 0.9 * soft
        total += sum((target - q[row, k, batch.action[row]]) ** 2 for k in range(2)) / 2
    assert float(loss) == pytest.approx(float(total), rel=1e-5)
    loss, *_, entropy, _ = agent.update_actor(batch, SEED)
    expected, entropies = [], []
    for row in range(2):
        p = np.exp(S[row].numpy() @ weights)
        p /= p.sum()
        least = q[row].min(axis=0)
        expected.append(sum(p[a] * (0.5 * np.log(p[a]) - least[a]) for a in range(2)))
        entropies.append(-(p * np.log(p)).sum())
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)
    assert float(entropy) == pytest.approx(np.mean(entropies), rel=1e-5)
    assert set(metrics) == {"td_error", "q_value"}


# Numbers at their limits


def test_no_nan_at_saturation():
    """Over a million random parameters, actions and their gradients are finite."""
    head = SquashedGaussian([-1.0, 0.0], [3.0, 1e-3])
    rng = np.random.default_rng(0)
    parameters = rng.normal(size=[250_000, 4]) * rng.choice([1, 30, 1e4], [250_000, 1])
    parameters = tf.constant(parameters, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        u = head.sample(parameters, SEED)
        log_prob = head.log_prob(parameters, u)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, parameters)).all()
    action = head.to_env(u).numpy()
    assert (action >= [-1.0, 0.0]).all()
    assert (action <= np.float32([3.0, 1e-3])).all()


def test_log_density_in_the_units_of_the_environment():
    head = SquashedGaussian([-1.0, -1.0], [2.0, 2.0])
    means = np.tanh([[1, -1], [0.1, -0.1]])
    log_std = 1 + np.tanh([[0.1, 0.1], [0.2, 0.3]])
    parameters = np.concatenate([means, log_std], axis=1).astype("f4")
    action = np.float32([[0.5, -0.6], [-0.4, -0.2]])
    received = head.env_log_prob(parameters, action)
    np.testing.assert_allclose(received, [-4.110274, -4.480485], rtol=1e-6)


# Bad input


def test_a_critic_of_another_shape():
    with pytest.raises(ValueError, match=r"one output \[B, K\].*\(None, 2, 3\)"):
        TD3.for_env("Pendulum-v1", num_quantiles=3)
    with pytest.raises(ValueError, match=r"\[B, K, 2\].*\(None, 1\)"):
        make(
            DiscreteSAC, linear(np.zeros([2, 2]), (2,)), linear([[1], [1]], (2,)),
            Categorical(2),
        )  # fmt: skip


def test_actions_of_the_other_kind():
    with pytest.raises(ValueError, match=r"a Box.*CartPole.*dqn"):
        SAC.for_env("CartPole-v1")
    with pytest.raises(ValueError, match=r"Discrete actions.*Pendulum.*sac"):
        DiscreteSAC.for_env("Pendulum-v1")


def test_an_assigned_learning_rate_is_that_of_all():
    agent = sac()
    agent.learning_rate = 0.5
    rates = [float(o.learning_rate) for o, _ in agent.optimizers().values()]
    assert rates == [0.5, 0.5, 0.5]
    agent.critic_learning_rate = 0.25
    assert float(agent.critic_optimizer.learning_rate) == 0.25
    assert agent.learning_rate == 0.5


def test_the_huber_loss_is_the_published_one():
    agent = sac(loss="huber")
    loss, _ = agent.critic_losses(tf.constant([[1.0, 4.0]]), tf.constant([1.5]))
    assert float(loss[0]) == pytest.approx(float(huber(0.5) + huber(-2.5)))
