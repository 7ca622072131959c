"""Tests of `kerasrl2.agents.A3C`: what it computes, alone and beside A2C."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2 import envs
from kerasrl2.agents import A2C, A3C
from kerasrl2.distributions import Categorical, DiagonalGaussian, head_for
from kerasrl2.types import OnPolicyBatch, Rollout
from tests.agents.harness import SEED

UNBOUNDED = DiagonalGaussian([None], [None])


def constant_network(parameters, value=0.0):
    """`(network, biases)`: parameters and value are weights, whatever it sees."""
    inputs = keras.Input([1])
    dense = [
        keras.layers.Dense(n, kernel_initializer="zeros") for n in (len(parameters), 1)
    ]
    network = keras.Model(inputs, [layer(inputs) for layer in dense])
    dense[0].bias.assign(parameters)
    dense[1].bias.assign([value])
    return network, [layer.bias for layer in dense]


def one_row(action, advantage, target=0.0):
    row = lambda x, dtype=tf.float32: tf.constant([x], dtype)  # noqa: E731
    return OnPolicyBatch(
        observation=row([1.0]),
        action=tf.constant([action]),
        log_prob=row(0.0),
        value=row(0.0),
        advantage=row(advantage),
        target=row(target),
        valid=row(True, tf.bool),
    )


class TestLoss:
    """The hand-worked numbers of systems.md, 000-08, 000-10 and 002-09."""

    def loss(self, network, head, batch, **settings):
        settings = {"value_coefficient": 0.0, "entropy_coefficient": 0.0, **settings}
        agent = A3C(network, head, **settings)
        return agent.compute_gradients(batch, SEED)

    def test_discrete(self):
        """p = (3/4, 1/4), action 1, A = 2, weight of entropy 0.1: 2.716355.

        Without 1e-5 inside of the logarithms, with which it is 2.716277.
        """
        network, _ = constant_network(np.log([0.75, 0.25]))
        found = self.loss(
            network, Categorical(2), one_row(1, 2.0), entropy_coefficient=0.1
        )
        assert float(found.loss) == pytest.approx(2.716355, abs=2e-6)
        assert float(found.metrics["entropy"]) == pytest.approx(0.562335, abs=1e-6)

    def test_slope_of_the_entropy(self):
        network, _ = constant_network(np.log([0.75, 0.25]))
        found = self.loss(
            network, Categorical(2), one_row(1, 0.0), entropy_coefficient=1.0
        )
        slopes = next(x for x in found.values if x.shape == [2])
        np.testing.assert_allclose(slopes, [0.205990, -0.205990], atol=1e-6)

    @pytest.mark.parametrize(("gap", "slope"), [(20.0, 1.0), (10.0, 0.9999546)])
    def test_an_unlikely_action_still_has_a_gradient(self, gap, slope):
        """From the logarithm of the softmax; from log(p + 1e-5): 2.1e-4 and 0.82."""
        network, _ = constant_network([gap, 0.0])
        found = self.loss(network, Categorical(2), one_row(1, 1.0))
        slopes = next(x for x in found.values if x.shape == [2])
        np.testing.assert_allclose(slopes, [slope, -slope], atol=1e-6)

    def test_three_objectives(self):
        """V = 1, R = 3: half of the squared error is 2. 2.766965 + 2."""
        network, _ = constant_network(np.log([0.75, 0.25]), value=1.0)
        found = self.loss(
            network,
            Categorical(2),
            one_row(1, 2.0, target=3.0),
            entropy_coefficient=0.01,
            value_coefficient=1.0,
        )
        assert float(found.loss) == pytest.approx(4.766965, abs=2e-6)

    def test_a_normal_policy_is_not_punished_for_entropy(self):
        """N(0, 1), weight 0.01: -0.01 * 1.418939, and -0.01 / sigma by sigma."""
        network, _ = constant_network([0.0, 0.0])  # mean, log of sigma
        batch = one_row([0.0], 0.0)
        found = self.loss(network, UNBOUNDED, batch, entropy_coefficient=0.01)
        assert float(found.loss) == pytest.approx(-0.014189, abs=1e-6)
        slopes = next(x for x in found.values if x.shape == [2])
        np.testing.assert_allclose(slopes, [0.0, -0.01], atol=1e-7)

    def test_a_normal_policy(self):
        """a = 1, mu = 0, sigma = 2: log pdf -1.737086; 0.25 and 2 * -0.375."""
        network, _ = constant_network([0.0, np.log(2.0)])
        found = self.loss(network, UNBOUNDED, one_row([1.0], 1.0))
        assert float(found.loss) == pytest.approx(1.737086, abs=1e-6)
        slopes = next(x for x in found.values if x.shape == [2])
        np.testing.assert_allclose(slopes, [-0.25, 0.75], atol=1e-6)

    @pytest.mark.parametrize("kind", ["gaussian", "squashed_gaussian"])
    def test_the_middle_of_bounds_that_are_not_symmetric(self, kind):
        """[-1, 3]: what is 0 to the policy is 1 to the environment."""
        head = head_for(spaces.Box(-1.0, 3.0, [1]), kind)
        assert float(head.to_env(head.mode(tf.zeros([1, 2])))[0, 0]) == 1.0


class TestTargets:
    """systems.md 000-06: rewards = values = 0..4, V(s_5) = 10, gamma = 2 by scale.

    The discount is at most 1 here, so that the numbers are those of gamma = 1/2 of the
    same recursion, by a naive loop, and those of gamma = 2 in tests/test_returns.py.
    """

    def targets(self, n, tail, terminated=False):
        network, _ = constant_network([0.0, 0.0])
        agent = A3C(network, Categorical(2), gamma=0.5, n_step=n, tail=tail)
        reward = tf.range(5.0)[:, None]
        flags = tf.zeros([5, 1], tf.bool)
        end = tf.constant([[False]] * 4 + [[terminated]])
        rollout = Rollout(None, None, reward, end, flags, ~flags)
        value = tf.range(5.0)[:, None]
        following = tf.constant([1.0, 2.0, 3.0, 4.0, 10.0])[:, None]
        advantage, target = agent.advantages(rollout, value, following)
        np.testing.assert_array_equal(advantage, target - value)
        return target[:, 0].numpy().tolist()

    def naive(self, n, tail, terminated):
        values, found = [0.0, 1.0, 2.0, 3.0, 4.0, 0.0 if terminated else 10.0], []
        for t in range(5):
            m = min(n, 5 - t)
            total = sum(0.5**k * (t + k) for k in range(m))
            if m == n or tail == "bootstrap":
                total += 0.5**m * values[t + m]
            found.append(total)
        return found

    @pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
    @pytest.mark.parametrize("tail", ["bootstrap", "zero"])
    def test_both_rules(self, n, tail):
        assert self.targets(n, tail) == self.naive(n, tail, False)

    def test_they_differ_where_a_rollout_is_cut_only(self):
        assert self.targets(2, "zero")[:4] == self.targets(2, "bootstrap")[:4]
        assert self.targets(2, "zero")[4] == 4.0
        assert self.targets(2, "bootstrap")[4] == 9.0
        assert self.targets(2, "zero", True) == self.targets(2, "bootstrap", True)

    def test_one_step_has_an_advantage(self):
        """It is not the value itself, as in the files that forget one of n + 1."""
        assert self.targets(1, "bootstrap") == [0.5, 2.0, 3.5, 5.0, 9.0]


SAME = {"rollout_length": 5, "num_envs": 2, "hidden": (8,), "seed": 3}
SAME |= {"entropy_coefficient": 0.01}


def both(env_id, steps, **settings):
    """`(weights, optimizer's variables, history)` of A2C and of A3C with one worker."""
    found = []
    for kind, more in ((A2C, {}), (A3C, {"workers": 1})):
        agent = kind.for_env(env_id, **{**SAME, **settings}, **more)
        history = agent.fit(env_id, steps=steps, epochs=2, verbose=0).history
        del history["steps_per_second"]
        optimizer = [variable.numpy() for variable in agent.optimizer.variables]
        found.append((agent.get_weights(), optimizer, history))
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        ("CartPole-v1", {"normalize_observations": True, "normalize_rewards": True}),
        pytest.param("Pendulum-v1", {"n_step": 3}, marks=pytest.mark.long),
    ],
)
def test_one_worker_is_a2c_to_the_bit(env_id, settings):
    """Weights, moments, statistics and history, in plain graphs."""
    (weights, slots, history), other = both(env_id, 200, xla=False, **settings)
    for a, b in zip(weights, other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(slots, other[1], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_equal(history, other[2])


@pytest.mark.long
def test_one_worker_is_a2c_with_xla():
    """Programs that XLA compiles apart round apart: within 2e-6 after 40 steps."""
    settings = {"normalize_observations": True, "normalize_rewards": True}
    (weights, _, history), other = both("CartPole-v1", 400, **settings)
    for a, b in zip(weights, other[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)
    assert history["env_steps"] == other[2]["env_steps"]
    assert history["episodes"] == other[2]["episodes"]


@pytest.mark.long
@pytest.mark.usefixtures("eager")
def test_one_worker_is_a2c_eagerly():
    """Nothing is compiled, and there are no copies of the weights."""
    (weights, _, history), other = both("Chain-5", 20, normalize_observations=True)
    for a, b in zip(weights, other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_equal(history, other[2])


class TestBadInput:
    @pytest.mark.parametrize("workers", [0, -1, 1.5, True])
    def test_workers(self, workers):
        with pytest.raises(ValueError, match="`workers` to be an integer >= 1"):
            A3C.for_env("Chain-5", workers=workers, **SAME)

    def test_words(self):
        with pytest.raises(ValueError, match="`tail` to be one of: bootstrap, zero"):
            A3C.for_env("Chain-5", tail="none", **SAME)
        with pytest.raises(ValueError, match="lock"):
            A3C.for_env("Chain-5", lock="yes", **SAME)

    def test_an_update_of_ones_own(self):
        class Own(A3C):
            def update(self, batch, seed):
                return super().update(batch, seed)

        agent = Own.for_env("Chain-5", **SAME)
        with pytest.raises(ValueError, match=r"Own, which overrides `update`"):
            agent.loop_on("Chain-5")

    def test_one_object_for_several_workers(self):
        env = envs.make("CartPole-v1", backend="gymnasium")
        agent = A3C.for_env(env, workers=2, **SAME)
        with pytest.raises(ValueError, match=r"each of 2 workers.*its id, or a callab"):
            agent.fit(env, steps=20, verbose=0)
        single = A3C.for_env(env, workers=1, **SAME)
        single.loop_on(env)

    @pytest.mark.long
    def test_a_callable_that_returns_the_same(self):
        env = envs.make("CartPole-v1", backend="gymnasium")
        agent = A3C.for_env(env, workers=2, **{**SAME, "num_envs": 1})
        one = gymnasium.make("CartPole-v1")
        with pytest.raises(ValueError, match="each of 2 workers"):
            agent.fit(lambda: one, steps=20, verbose=0)


@pytest.mark.long
def test_tuned_agents_have_an_environment_for_each_worker():
    from kerasrl2.zoo.build import tuned_agent

    agent, env, _ = tuned_agent("a3c", "CartPole-v1", backend="gymnasium", seed=0)
    assert len(env.parts) == agent.workers == 4
    assert agent.loop_on(env).env is env
    assert [worker.env for worker in agent.loop_on(env).workers] == env.parts
    env.close()
    agent, env, _ = tuned_agent("a3c", "CartPole-v1", seed=0)
    assert env.in_graph
    assert {id(worker.env) for worker in agent.loop_on(env).workers} == {id(env)}
