"""An agent of a user's own with two optimizers, and parts of all kinds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2._state import state_of
from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.errors import NonFiniteError
from kerasrl2.losses import policy_gradient_loss
from kerasrl2.statistics import masked_mean
from kerasrl2.types import PolicyOutputs

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

ENV = "Chain-5"


class Memory(tf.Module):
    """Variables that Keras knows nothing of."""

    def __init__(self):
        super().__init__()
        self.total = tf.Variable(0.0, trainable=False)
        self.embedding = keras.layers.Embedding(2, 1, embeddings_initializer="zeros")
        self.embedding.build((None,))
        self.parts = [tf.Variable([1.0, 2.0], trainable=False)]


class Twins(ActorCritic):
    """A policy moved by one optimizer, and a list of critics moved by another."""

    metric_names = ("loss", "gradient_norm", "critic_loss", "critic_norm", "error")

    def __init__(
        self,
        network,
        head,
        observation_spec=None,
        critics=(),
        actor_optimizer=None,
        critic_optimizer=None,
        **kwargs,
    ):
        settings = {"optimizer": None, "gamma": 0.9, "lambda_": 1.0, "n_step": None}
        settings |= {"value_coefficient": 1.0, "entropy_coefficient": 0.0}
        settings |= {"normalize_advantages": False, "num_epochs": 1, "batch_size": None}
        settings |= {"rollout_length": 4, "num_envs": 2, "reward_scaling": None}
        super().__init__(network, head, observation_spec, **{**settings, **kwargs})
        self.critics = list(critics)
        self.actor_optimizer = actor_optimizer
        self.critic_optimizer = critic_optimizer
        self.scale = tf.Variable(1.0, trainable=False)
        self.memory = Memory()
        self.error = keras.metrics.Mean(name="error")

    def forward(self, observation, policy_state=(), training=False, seed=None):
        parameters = tf.cast(self.network(observation, training=training), tf.float32)
        value = self.values(observation)[0]
        return PolicyOutputs(parameters, value, policy_state)

    def values(self, observation):
        """`[K, B]`, of all critics."""
        return tf.stack([critic(observation)[:, 0] for critic in self.critics])

    def _check_network(self):
        pass  # the networks have one output each

    def optimizers(self):
        critics = [v for c in self.critics for v in c.trainable_variables]
        return {
            "actor": (self.actor_optimizer, self.network.trainable_variables),
            "critic": (self.critic_optimizer, critics),
        }

    def critic_loss(self, batch):
        error = batch.target - self.values(batch.observation)
        return masked_mean(tf.reduce_sum(error**2, axis=0), batch.valid), {}

    def update(self, batch, seed):
        def actor_loss():
            parameters = self.forward(batch.observation, training=True).parameters
            log_prob = self.head.log_prob(parameters, batch.action)
            loss = policy_gradient_loss(log_prob, batch.advantage)
            return masked_mean(loss, batch.valid), {}

        actor = self.gradient_step("actor", actor_loss)
        critic = self.gradient_step("critic", lambda: self.critic_loss(batch))
        self.scale.assign(0.9 * self.scale)
        self.memory.total.assign_add(critic.loss)
        self.memory.embedding.embeddings.assign_add([[1.0], [2.0]])
        self.memory.parts[0].assign(self.memory.parts[0] + 1.0)
        self.error.update_state(critic.loss)
        return {
            "loss": actor.loss,
            "gradient_norm": actor.norm,
            "critic_loss": critic.loss,
            "critic_norm": critic.norm,
            "error": self.error.result(),
        }, None


class Poisoned(Twins):
    """The critics' loss is not finite from their third step on."""

    def critic_loss(self, batch):
        loss, metrics = super().critic_loss(batch)
        bad = self.critic_optimizer.iterations >= 2
        return loss + tf.where(bad, float("inf"), 0.0), metrics


def dense(units, seed):
    layer = keras.layers.Dense(
        units, kernel_initializer=keras.initializers.GlorotUniform(seed)
    )
    return keras.Sequential([keras.Input([5]), layer])


def make(agent_class=Twins, **more):
    settings = {"actor_optimizer": keras.optimizers.SGD(0.1)}
    settings |= {"critic_optimizer": keras.optimizers.Adam(0.01)}
    settings |= {"critics": [dense(1, 1), dense(1, 2)], "network": dense(2, 0)}
    settings |= {"seed": 0, "xla": False}
    return agent_class.for_env(ENV, **{**settings, **more})


def fit(agent, steps=40):
    return agent.fit(ENV, steps=steps, epochs=1, verbose=0).history


@pytest.fixture(scope="module")
def trained():
    agent = make()
    return agent, fit(agent)


def variables(agent):
    """All of an agent by name: networks, both optimizers, everything else."""
    return state_of(agent=agent).variables


def assert_same(one, other):
    ours, theirs = variables(one), variables(other)
    assert list(ours) == list(theirs)
    for name, variable in ours.items():
        np.testing.assert_array_equal(variable, theirs[name], err_msg=name)


def test_trains_with_both_optimizers(trained):
    agent, history = trained
    fresh = variables(make())
    for name, variable in variables(agent).items():
        moved = not np.array_equal(variable, fresh[name])
        rate = "optimizer/1" in name  # iterations, rate, moments
        assert moved != (rate or "_numbers" in name), name
    assert int(agent.actor_optimizer.iterations) == 5
    assert int(agent.critic_optimizer.iterations) == 5
    assert float(agent.scale) == pytest.approx(0.9**5)
    total = float(agent.memory.total)
    assert total == pytest.approx(5 * history["critic_loss"][0], rel=1e-5)
    assert float(agent.error.result()) == pytest.approx(total / 5, rel=1e-5)
    assert agent.memory.parts[0].numpy().tolist() == [6.0, 7.0]
    assert history["actor_learning_rate"] == pytest.approx([0.1])
    assert history["critic_learning_rate"] == pytest.approx([0.01])
    assert set(Twins.metric_names) <= set(history)


def test_each_optimizer_moves_its_own_variables():
    """By hand: plain gradient descent by the critics' rate does not touch the actor."""
    agent = make(critic_optimizer=keras.optimizers.SGD(0.5))
    before = [v.numpy() for v in (*agent.network.weights, *agent.critics[1].weights)]
    observation, target = tf.eye(5)[:2], tf.constant([2.0, 0.0])
    gradients = agent.gradient_step(
        "critic",
        lambda: (tf.reduce_mean((target - agent.values(observation)[1]) ** 2), {}),
    )
    kernel, bias, critic_kernel, critic_bias = before
    for weight, value in zip(agent.network.weights, (kernel, bias), strict=True):
        np.testing.assert_array_equal(weight, value)
    error = target.numpy() - critic_kernel[:2, 0] - critic_bias[0]
    assert float(gradients.loss) == pytest.approx(np.mean(error**2), rel=1e-5)
    moved = critic_kernel.copy()
    moved[:2, 0] += 0.5 * error  # minus rate times the derivative, -2 error / 2
    np.testing.assert_allclose(agent.critics[1].weights[0], moved, rtol=1e-5)
    assert int(agent.actor_optimizer.iterations) == 0
    with pytest.raises(ValueError, match=r"one of: actor, critic\. .* 'critics'"):
        agent.gradient_step("critics", lambda: (0.0, {}))


def test_saves_and_loads_all_of_it(trained, tmp_path):
    agent, _ = trained
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras", {"Twins": Twins})
    assert type(loaded) is Twins
    assert len(loaded.critics) == 2
    assert_same(agent, loaded)
    names = [name for name in variables(loaded) if "optimizer" in name]
    assert len(names) == 2 + 2 + 2 * 4  # iterations, rates; Adam's moments
    # And learns on alike, from episodes of its own.
    again = krl.load_agent(tmp_path / "agent.keras", {"Twins": Twins})
    for one in (loaded, again):
        fit(one, steps=8)
    assert int(again.critic_optimizer.iterations) == 6
    assert_same(loaded, again)


def test_a_file_without_one_of_its_variables_is_told_so(trained, tmp_path):
    class More(Twins):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.another = tf.Variable(3.0, trainable=False)

    trained[0].save(tmp_path / "agent.keras")
    with pytest.raises(ValueError, match=r"another.*More|More.*another"):
        krl.load_agent(tmp_path / "agent.keras", {"Twins": More})


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_loss_of_the_second_that_is_not_finite_stops_the_run_and_names_it(xla):
    agent = make(Poisoned, xla=xla)
    message = "infinite loss of the optimizer 'critic' while learning from 'Chain-5'"
    with pytest.raises(NonFiniteError, match=f"{message} in iteration 3 "):
        fit(agent)
    assert int(agent.actor_optimizer.iterations) == 3
    assert int(agent.critic_optimizer.iterations) == 2
    for name, variable in variables(agent).items():
        if "network" in name or "critics" in name or "optimizer" in name:
            assert np.isfinite(variable.numpy()).all(), name


@pytest.mark.long
def test_a_loss_of_the_first_is_named_too():
    class Other(Twins):
        def update(self, batch, seed):
            batch = batch._replace(advantage=batch.advantage * float("nan"))
            return super().update(batch, seed)

    agent = make(Other)
    with pytest.raises(NonFiniteError, match="loss of the optimizer 'actor'"):
        fit(agent)
    assert int(agent.actor_optimizer.iterations) == 0
    assert int(agent.critic_optimizer.iterations) == 0  # nor a step after it


def test_an_optimizer_that_cannot_be_used_is_refused():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    with pytest.raises(ValueError, match="without loss scaling"):
        make(critic_optimizer=scaled)
    with pytest.raises(ValueError, match=r"a Keras optimizer.*NoneType"):
        make(critic_optimizer=None)


def test_losses_of_networks_go_to_the_optimizer_that_moves_them():
    def regularized(units, factor):
        regularizer = keras.regularizers.L2(factor)
        layer = keras.layers.Dense(units, kernel_regularizer=regularizer)
        return keras.Sequential([keras.Input([5]), layer])

    critics = [regularized(1, 2.0), regularized(1, 3.0)]
    agent = make(network=regularized(2, 0.5), critics=critics)
    assert "regularization" in agent.report_names
    networks = {"actor": [(0.5, agent.network)]}
    networks["critic"] = zip((2.0, 3.0), critics, strict=True)
    for name, of_optimizer in networks.items():
        expected = sum(f * (n.get_weights()[0] ** 2).sum() for f, n in of_optimizer)
        observation = tf.eye(5)

        def loss():
            outputs = [n(observation) for n in (agent.network, *agent.critics)]  # noqa: B023
            return 0.0 * sum(map(tf.reduce_sum, outputs)), {}

        gradients = agent.gradient_step(name, loss)
        assert float(gradients.loss) == pytest.approx(expected, rel=1e-6)
        assert float(gradients.metrics["regularization"]) == float(gradients.loss)
