"""Estimators of the policy gradient against exact gradients, on small problems.

Two steps, two actions, four trajectories: what an agent makes of each is weighted with
its probability. Bernoulli variables, a Gaussian, and Chain-5 with its exact Q.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import A2C, QActorCritic, Reinforce
from kerasrl2.distributions import Categorical, DiagonalGaussian
from kerasrl2.losses import categorical_log_prob, policy_gradient_loss
from kerasrl2.types import OnPolicyBatch, Rollout
from tests.agents.harness import SEED
from tests.agents.test_a2c import linear_agent, one_step

# State 0, then state 1 + a. Rewards of the first action, and of the second by state.
FIRST, SECOND = np.array([1.0, 0.0]), np.array([[0.0, 2.0], [3.0, 1.0]])
LOGITS = np.array([[0.3, -0.2], [0.5, 0.1], [-0.4, 0.6]])
TRAJECTORIES = [(a, b) for a in (0, 1) for b in (0, 1)]


def policy():
    return np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def values():
    """Of the three states under the policy, undiscounted."""
    p = policy()
    later = (p[1:] * SECOND).sum(axis=1)
    return np.array([(p[0] * (FIRST + later)).sum(), *later])


def exact_gradient(gamma=1.0):
    """Of `J`, the expected return, by the logits: `[3, 2]`."""
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        log_p = tf.nn.log_softmax(logits)
        expected = tf.add_n([
            tf.exp(log_p[0, a] + log_p[1 + a, b]) * (FIRST[a] + gamma * SECOND[a, b])
            for a, b in TRAJECTORIES
        ])  # fmt: skip
    return tape.gradient(expected, logits).numpy()


def make(**hyperparameters):
    """Logits, and values if there are some, are rows of tables."""
    inputs = keras.Input([3])
    outputs = [keras.layers.Dense(2, use_bias=False, name="logits")(inputs)]
    if hyperparameters["baseline"] == "value":
        outputs.append(keras.layers.Dense(1, use_bias=False, name="value")(inputs))
    network = keras.Model(inputs, outputs if outputs[1:] else outputs[0])
    network.get_layer("logits").kernel.assign(LOGITS)
    if outputs[1:]:
        network.get_layer("value").kernel.assign(values()[:, None])
    return Reinforce(
        network, Categorical(2), optimizer=keras.optimizers.SGD(0.1), gamma=1.0,
        seed=0, xla=False, **hyperparameters,
    )  # fmt: skip


def trajectory(a, b):
    states = np.eye(3, dtype=np.float32)[[0, 1 + a]][:, None]
    flags = tf.constant([[False], [True]])
    return Rollout(
        observation=tf.constant(states),
        action=tf.constant([[a], [b]]),
        reward=tf.constant([[FIRST[a]], [SECOND[a, b]]], tf.float32),
        terminated=flags,
        truncated=tf.zeros_like(flags),
        valid=tf.ones_like(flags),
        next_observation=tf.constant(states),
        last_observation=tf.constant(states[0]),
    )


def moments(known_mean=None, **hyperparameters):
    """Mean, and sum of variances, of the estimator over the four trajectories."""
    agent, p = make(**hyperparameters), policy()
    estimates, probabilities = [], []
    for a, b in TRAJECTORIES:
        if known_mean is not None:
            agent.running_return.assign([known_mean, 1.0])
        batch, _ = agent.prepare(trajectory(a, b), ())
        gradients = agent.compute_gradients(batch, SEED)
        estimates.append(-2.0 * gradients.values[0].numpy())  # the loss is a mean of 2
        probabilities.append(p[0, a] * p[1 + a, b])
    mean = np.average(estimates, axis=0, weights=probabilities)
    deviations = [((g - mean) ** 2).sum() for g in estimates]
    return mean, np.average(deviations, weights=probabilities)


ESTIMATORS = {
    "full return": {"baseline": None, "reward_to_go": False},
    "reward to go": {"baseline": None},
    "mean": {"baseline": "mean", "known_mean": 1.3},
    "value": {"baseline": "value"},
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_unbiased(name):
    """systems.md 002-01, to 1e-6: the mean over trajectories is the exact gradient."""
    mean, _ = moments(**ESTIMATORS[name])
    np.testing.assert_allclose(mean, exact_gradient(), atol=1e-6)


def test_the_variance_falls():
    """systems.md 002-11: full return, reward to go, a constant, the value."""
    found = [moments(**arguments)[1] for arguments in ESTIMATORS.values()]
    assert found == sorted(found, reverse=True)
    assert (np.diff(found) < -0.05).all(), found


def test_what_discounting_from_each_step_on_leaves_out():
    """With `gamma**t G_t` the estimate is exact for gamma 0.5, with `G_t` it is not."""
    agent, p = make(baseline=None), policy()
    agent.gamma = 0.5
    means = []
    for weights in ([1.0, 0.5], [1.0, 1.0]):
        total = np.zeros([3, 2])
        for a, b in TRAJECTORIES:
            batch, _ = agent.prepare(trajectory(a, b), ())
            batch = batch._replace(advantage=batch.advantage * weights)
            values = agent.compute_gradients(batch, SEED).values
            total += p[0, a] * p[1 + a, b] * -2.0 * values[0].numpy()
        means.append(total)
    np.testing.assert_allclose(means[0], exact_gradient(0.5), atol=1e-6)
    assert np.abs(means[1] - exact_gradient(0.5)).max() > 0.05


class TestScoreFunction:
    @staticmethod
    def scores(theta, samples):
        """`d log p / d theta` of Bernoulli samples, `p = sigmoid(theta)`."""
        theta = tf.fill([len(samples)], theta)
        with tf.GradientTape() as tape:
            tape.watch(theta)
            logits = tf.stack([tf.zeros_like(theta), theta], axis=1)
            log_prob = categorical_log_prob(logits, samples)
        return tape.gradient(log_prob, theta).numpy()

    def test_expected_score_is_zero(self):
        """systems.md 001-01, at probabilities 3/4 and 1/4."""
        scores = self.scores(float(np.log(1 / 3)), [0, 1])
        assert abs(np.dot([0.75, 0.25], scores)) < 1e-7

    @pytest.mark.parametrize(("baseline", "variance"), [(0.0, 0.0625), (0.5, 0.0)])
    def test_a_baseline_changes_the_variance_only(self, baseline, variance):
        """systems.md 001-02: p = 1/2, the reward is the action."""
        estimates = self.scores(0.0, [0, 1]) * (np.array([0.0, 1.0]) - baseline)
        assert np.mean(estimates) == pytest.approx(0.25, abs=1e-7)
        assert np.var(estimates) == pytest.approx(variance, abs=1e-7)

    def test_sampled(self):
        """systems.md 002-05: 0.25 from 1e5 samples."""
        samples = np.random.default_rng(0).integers(0, 2, 100_000)
        assert np.mean(self.scores(0.0, samples) * samples) == pytest.approx(
            0.25, abs=0.003
        )

    def test_of_a_gaussian_it_is_the_reparameterised_gradient(self):
        """`d E[x^2] / d mu = 2 mu = 3` for N(1.5, 1), both ways."""
        head, mean = DiagonalGaussian([None], [None]), tf.Variable(1.5)
        noise = np.random.default_rng(0).normal(size=[400_000, 1]).astype(np.float32)
        with tf.GradientTape(persistent=True) as tape:
            x = mean + noise
            parameters = tf.stack([mean + tf.zeros_like(x[:, 0]), 0.0 * x[:, 0]], 1)
            square = tf.stop_gradient(x[:, 0] ** 2)
            log_prob = head.log_prob(parameters, tf.stop_gradient(x))
            score = tf.reduce_mean(policy_gradient_loss(log_prob, square))
            path = tf.reduce_mean(x**2)
        assert -float(tape.gradient(score, mean)) == pytest.approx(3.0, abs=0.05)
        assert float(tape.gradient(path, mean)) == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(("huber_delta", "of_value"), [(None, 2.0), (1.0, 1.5)])
def test_the_three_objectives(huber_delta, of_value):
    """systems.md 002-09: p = (3/4, 1/4), action 1, A = 2, V = 1, R = 3."""
    agent = linear_agent(keras.optimizers.SGD(0.1), huber_delta=huber_delta)
    agent.entropy_coefficient, agent.value_coefficient = 0.01, 1.0
    weights = [[np.log(3.0), 0.0], [0.0, 0.0]], [[1.0], [0.0]]
    agent.network.set_weights([np.array(weight) for weight in weights])
    batch = one_step()._replace(action=tf.constant([1]), target=tf.constant([3.0]))
    loss, metrics = agent.compute_loss(batch, SEED)
    assert float(metrics["value_loss"]) == pytest.approx(of_value)
    assert float(loss) == pytest.approx(2.766965 + of_value, abs=1e-6)


class TestChain:
    """Chain-5: right from state 3 pays 1 and ends, gamma 0.9; systems.md 001-03."""

    GAMMA = 0.9

    @staticmethod
    def dynamics():
        """`(successors [4, 2], rewards [4, 2])`; state 4 is the end."""
        states = np.arange(4)
        successors = np.stack([np.maximum(states - 1, 0), states + 1], axis=1)
        return successors, (successors == 4).astype(float)

    def solve(self, logits):
        """`V` of the policy, a float64 tensor `[4]`, differentiable."""
        successors, rewards = self.dynamics()
        p = tf.nn.softmax(logits)
        onward = tf.one_hot(successors, 4, dtype=tf.float64)  # the end is no row
        matrix = tf.eye(4, dtype=tf.float64) - self.GAMMA * tf.einsum(
            "sa,sax->sx", p, onward
        )
        return tf.linalg.solve(matrix, tf.reduce_sum(p * rewards, 1)[:, None])[:, 0]

    def make(self, q, logits, **hyperparameters):
        inputs = keras.Input([5])
        tables = [keras.layers.Dense(2, use_bias=False)(inputs) for _ in range(2)]
        network = keras.Model(inputs, tables)
        rows = np.zeros([1, 2])
        network.set_weights([np.vstack([logits, rows]), np.vstack([q, rows])])
        return QActorCritic(
            network, Categorical(2), gamma=self.GAMMA, entropy_coefficient=0.0, seed=0,
            xla=False, **{"optimizer": keras.optimizers.SGD(0.1), **hyperparameters},
        )  # fmt: skip

    @pytest.mark.parametrize("baseline", [None, "value"])
    def test_exact_values_give_the_exact_gradient(self, baseline):
        """The mean over states visited, from a uniform start, and actions: to 1e-6."""
        table = np.random.default_rng(0).normal(size=[4, 2])
        logits, start = tf.Variable(table), np.full(4, 0.25)
        with tf.GradientTape() as tape:
            value = self.solve(logits)
            expected = tf.reduce_sum(start * value)
        exact = tape.gradient(expected, logits).numpy()

        successors, rewards = self.dynamics()
        p = np.exp(table) / np.exp(table).sum(axis=1, keepdims=True)
        q = rewards + self.GAMMA * np.append(value, 0.0)[successors]
        onward = np.einsum("sa,sax->sx", p, np.eye(5)[successors])[:, :4]
        visits = np.linalg.solve(np.eye(4) - self.GAMMA * onward.T, start)

        agent = self.make(q, table, baseline=baseline)
        rows = [(s, a) for s in range(4) for a in (0, 1)]
        rollout = self.rollout(rows)
        nothing = tf.zeros([8, 1])
        value = agent.forward(rollout.observation[:, 0]).value[:, None]
        advantage, _ = agent.advantages(rollout, value, nothing)
        weights = np.array([visits[s] * p[s, a] for s, a in rows])
        batch = OnPolicyBatch(
            observation=rollout.observation[:, 0],
            action=rollout.action[:, 0],
            log_prob=nothing[:, 0],
            value=value[:, 0],
            advantage=advantage[:, 0] * weights.astype(np.float32) * 8.0,
            target=nothing[:, 0],
            valid=rollout.valid[:, 0],
        )
        found = agent.compute_gradients(batch, SEED).values[0].numpy()[:4]
        np.testing.assert_allclose(-found, exact, atol=1e-6)

    def rollout(self, rows):
        states, actions = map(np.array, zip(*rows, strict=True))
        successors, rewards = self.dynamics()
        after = successors[states, actions]
        one_hot = lambda s: tf.one_hot(s, 5)[:, None]  # noqa: E731
        return Rollout(
            observation=one_hot(states),
            action=tf.constant(actions[:, None], tf.int32),
            reward=tf.constant(rewards[states, actions][:, None], tf.float32),
            terminated=tf.constant((after == 4)[:, None]),
            truncated=tf.zeros([len(rows), 1], tf.bool),
            valid=tf.ones([len(rows), 1], tf.bool),
            next_observation=one_hot(after),
            last_observation=one_hot(after)[-1],
        )

    def test_expected_sarsa(self):
        """Right from 2, p = (1/4, 3/4) at 3: 0.9 (0.25 * 2 + 0.75 * 4); then 1."""
        table = np.zeros([4, 2])
        table[3] = 0.0, np.log(3.0)
        q = np.array([[0.0, 0.0], [0.0, 0.0], [5.0, 7.0], [2.0, 4.0]])
        agent = self.make(q, table)
        batch, _ = agent.prepare(self.rollout([(2, 1), (3, 1)]), ())
        np.testing.assert_allclose(batch.target, [0.9 * 3.5, 1.0], rtol=1e-6)
        np.testing.assert_allclose(batch.value, [6.0, 3.5], rtol=1e-6)
        np.testing.assert_allclose(batch.advantage, [1.0, 0.5], rtol=1e-6)
        plain = self.make(q, table, baseline=None)
        batch, _ = plain.prepare(self.rollout([(2, 1), (3, 1)]), ())
        np.testing.assert_allclose(batch.advantage, [7.0, 4.0], rtol=1e-6)

    def test_only_the_value_of_the_action_taken_is_fitted(self):
        """Half the square, c_v = 1: Q(3, 1) = 4 moves by 0.1 (1 - 4) / 1."""
        agent = self.make(np.full([4, 2], 4.0), np.zeros([4, 2]), value_coefficient=1.0)
        agent.max_gradient_norm = None
        batch, _ = agent.prepare(self.rollout([(3, 1)]), ())
        agent.update(batch, SEED)
        expected = np.vstack([np.full([4, 2], 4.0), [[0.0, 0.0]]])
        expected[3, 1] += 0.1 * (1.0 - 4.0)
        np.testing.assert_allclose(agent.network.get_weights()[1], expected, rtol=1e-6)


def test_q_actor_critic_refuses_other_actions_and_networks():
    with pytest.raises(ValueError, match="one discrete action"):
        QActorCritic.for_env("Pendulum-v1", hidden=())
    network = A2C.for_env("Chain-5", hidden=()).network
    with pytest.raises(ValueError, match=r"logits and action values, both \[B, 2\]"):
        QActorCritic.for_env("Chain-5", network=network)


@pytest.mark.long
def test_a_step_after_every_step_finds_the_endless_value():
    """systems.md 003-02: 10, not 5.263, which a truncation taken for an end gives."""
    agent = A2C.for_env(
        "Endless-1", hidden=(), gamma=0.9, rollout_length=1, num_envs=1, seed=0,
        optimizer="sgd", learning_rate=0.01, critic_learning_rate=0.2,
        max_gradient_norm=None, value_coefficient=1.0, xla=False,
    )  # fmt: skip
    agent.fit("Endless-1", steps=2000, epochs=1, verbose=0)
    value = agent.forward(np.ones([1, 1], "f4")).value
    assert float(value[0]) == pytest.approx(10.0, abs=0.1)
